-- Money that leaves: to vendors, back to payers, and out with released people.
--
-- What was moved, and why, stands in the journal's records. These tables say which transaction ended which, and what lists
-- and checks look for.

-- A settlement is numbered by its closing transaction. It covers the vendor's postings after after_seq up to through_seq.
create table settlement (
    center_id    integer not null,
    seq          bigint  not null,
    vendor_id    text    not null collate "C",
    through_date date    not null,
    after_seq    bigint  not null,
    through_seq  bigint  not null,
    total        numeric not null,
    constraint settlement_pkey primary key (center_id, seq),
    constraint settlement_after_unique unique (center_id, vendor_id, after_seq),
    constraint settlement_vendor foreign key (center_id, vendor_id) references vendor (center_id, vendor_id),
    constraint settlement_range check (after_seq < through_seq and through_seq < seq),
    constraint settlement_total_positive check (total > 0 and scale(total) <= 4)
);
create index settlement_by_vendor on settlement (center_id, vendor_id, seq);

-- How a settlement ended, once.
create table settlement_end (
    center_id integer not null,
    seq       bigint  not null,
    end_seq   bigint  not null,
    state     text    not null collate "C",
    reference text    not null,
    reason    text    not null,
    constraint settlement_end_pkey primary key (center_id, seq),
    constraint settlement_end_unique unique (center_id, end_seq),
    constraint settlement_end_settlement foreign key (center_id, seq) references settlement (center_id, seq),
    constraint settlement_end_state check (state in ('PAID', 'FAILED'))
);

-- A refund is numbered by the transaction that set its money aside; its number at the gateway is made of center_id and seq.
create table refund (
    center_id     integer not null,
    seq           bigint  not null,
    remittance_id text    not null collate "C",
    detainee_id   text    not null collate "C",
    credit_seq    bigint  not null,
    amount        numeric not null,
    constraint refund_pkey primary key (center_id, seq),
    constraint refund_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint refund_order check (credit_seq < seq),
    constraint refund_amount_positive check (amount > 0 and scale(amount) <= 4)
);
create index refund_by_detainee on refund (center_id, detainee_id, seq);
create index refund_by_remittance on refund (center_id, remittance_id, seq);

-- Every state a refund reached, once. end_seq is the transaction that ended it.
create table refund_leg (
    center_id integer     not null,
    seq       bigint      not null,
    state     text        not null collate "C",
    at        timestamptz not null,
    detail    text        not null,
    end_seq   bigint,
    constraint refund_leg_pkey primary key (center_id, seq, state),
    constraint refund_leg_refund foreign key (center_id, seq) references refund (center_id, seq),
    constraint refund_leg_state check (state in ('REQUESTED', 'SUBMITTED', 'SUCCEEDED', 'FAILED')),
    constraint refund_leg_end check ((state in ('SUCCEEDED', 'FAILED')) = (end_seq is not null))
);
-- A refund has one end.
create unique index refund_leg_one_end on refund_leg (center_id, seq) where end_seq is not null;
-- A transaction ends one refund; verification reads the ends in the journal's order.
create unique index refund_leg_by_end on refund_leg (center_id, end_seq) where end_seq is not null;

-- Refunds without an outcome, and when the gateway is asked next. Not history: a row goes with the outcome.
create table refund_open (
    center_id integer     not null,
    seq       bigint      not null,
    attempts  integer     not null,
    next_at   timestamptz not null,
    constraint refund_open_pkey primary key (center_id, seq),
    constraint refund_open_refund foreign key (center_id, seq) references refund (center_id, seq)
);
create index refund_open_due on refund_open (center_id, next_at);

-- A release payout is numbered by the transaction that set the balance aside. Who has nothing is released by that transaction.
create table release (
    center_id   integer not null,
    seq         bigint  not null,
    detainee_id text    not null collate "C",
    amount      numeric not null,
    constraint release_pkey primary key (center_id, seq),
    constraint release_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint release_amount check (amount >= 0 and scale(amount) <= 4)
);
create index release_by_detainee on release (center_id, detainee_id, seq);

-- How a release payout ended, once.
create table release_end (
    center_id integer not null,
    seq       bigint  not null,
    end_seq   bigint  not null,
    state     text    not null collate "C",
    constraint release_end_pkey primary key (center_id, seq),
    constraint release_end_unique unique (center_id, end_seq),
    constraint release_end_release foreign key (center_id, seq) references release (center_id, seq),
    constraint release_end_state check (state in ('PAID', 'FAILED'))
);

grant select, insert on settlement, settlement_end, refund, refund_leg, release, release_end to custody_service;
grant select, insert, delete on refund_open to custody_service;
grant update (attempts, next_at) on refund_open to custody_service;
