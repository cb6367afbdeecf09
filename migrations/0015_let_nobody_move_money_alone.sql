-- What needs several people needs them in these tables, too, whoever writes to them.

alter table approval
    add constraint approval_grant_target unique (center_id, approval_no, maker, checkers_needed);
alter table approval_decision
    add constraint approval_decision_verdict_unique unique (center_id, approval_no, person, verdict);

-- That everybody needed has allowed it, once. Each of them is somebody else, by the foreign keys: nobody decides on what they
-- asked for (approval_decision_not_by_maker). What then moves money names this row.
create table approval_grant (
    center_id       integer     not null,
    approval_no     bigint      not null,
    maker           text        not null collate "C",
    checkers_needed smallint    not null,
    checker         text        not null collate "C",
    second_checker  text        collate "C",
    verdict         text        not null collate "C" default 'APPROVED',
    granted_at      timestamptz not null,
    constraint approval_grant_pkey primary key (center_id, approval_no),
    constraint approval_grant_approval foreign key (center_id, approval_no, maker, checkers_needed)
        references approval (center_id, approval_no, maker, checkers_needed),
    constraint approval_grant_verdict check (verdict = 'APPROVED'),
    constraint approval_grant_checker foreign key (center_id, approval_no, checker, verdict)
        references approval_decision (center_id, approval_no, person, verdict),
    constraint approval_grant_second foreign key (center_id, approval_no, second_checker, verdict)
        references approval_decision (center_id, approval_no, person, verdict),
    constraint approval_grant_enough check ((checkers_needed = 2) = (second_checker is not null)),
    constraint approval_grant_two_people check (checker <> second_checker)
);
grant select, insert on approval_grant to custody_service;

-- An advance is money out of the center's own.
alter table debt
    add column approval_no bigint,
    add constraint debt_approval foreign key (center_id, approval_no) references approval_grant (center_id, approval_no),
    add constraint debt_approval_unique unique (center_id, approval_no),
    add constraint debt_advance_two_people check (kind <> 'ADVANCE' or approval_no is not null);

alter table credit_reversal
    add column approval_no bigint not null,
    add constraint credit_reversal_approval foreign key (center_id, approval_no)
        references approval_grant (center_id, approval_no),
    add constraint credit_reversal_approval_unique unique (center_id, approval_no);

-- Out of suspense by several people, or by the service itself where the rules say when; payouts of 500.00 and more, too.
alter table refund
    add column approval_no bigint,
    add column by_itself boolean not null default false,
    add constraint refund_approval foreign key (center_id, approval_no) references approval_grant (center_id, approval_no),
    add constraint refund_approval_unique unique (center_id, approval_no),
    add constraint refund_two_people check (
        approval_no is not null and not by_itself or approval_no is null and by_itself and from_suspense
        or approval_no is null and not by_itself and not from_suspense and amount < 500
    );

-- opened_by and ended_by are people as approvals know them: subjects of tokens, in lower case, whatever the role. Who has
-- nothing is released by one transaction, without a payout.
alter table release
    add column opened_by text not null collate "C",
    add column approval_no bigint,
    add constraint release_opened_by_lower check (opened_by = lower(opened_by) and opened_by <> ''),
    add constraint release_opened_by_unique unique (center_id, seq, opened_by),
    add constraint release_approval foreign key (center_id, approval_no) references approval_grant (center_id, approval_no),
    add constraint release_approval_unique unique (center_id, approval_no),
    add constraint release_two_people check (amount < 500 or approval_no is not null);
alter table release_end
    add column opened_by text not null collate "C",
    add column ended_by text not null collate "C",
    add constraint release_end_opened_by foreign key (center_id, seq, opened_by)
        references release (center_id, seq, opened_by),
    add constraint release_end_ended_by_lower check (ended_by = lower(ended_by) and ended_by <> ''),
    add constraint release_end_two_people check (state <> 'PAID' or end_seq = seq or ended_by <> opened_by);

-- Whose money without an order is, is never one person's word: not even when what that person wrote down matches.
alter table unmatched_end
    add column approval_no bigint not null,
    add constraint unmatched_end_approval foreign key (center_id, approval_no)
        references approval_grant (center_id, approval_no),
    add constraint unmatched_end_approval_unique unique (center_id, approval_no);

-- A refund that the gateway cannot pay to where the money came from is paid by the bank, where several people have said.
create table refund_redirect (
    center_id     integer     not null,
    seq           bigint      not null,
    destination   text        not null,
    approval_no   bigint      not null,
    redirected_at timestamptz not null,
    constraint refund_redirect_pkey primary key (center_id, seq),
    constraint refund_redirect_refund foreign key (center_id, seq) references refund (center_id, seq),
    constraint refund_redirect_approval foreign key (center_id, approval_no)
        references approval_grant (center_id, approval_no),
    constraint refund_redirect_approval_unique unique (center_id, approval_no),
    constraint refund_redirect_destination check (destination <> '')
);
grant select, insert on refund_redirect to custody_service;
