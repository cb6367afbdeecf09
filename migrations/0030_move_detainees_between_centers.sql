-- Detainees move from center to center with everything they have; an authority's order withholds money of theirs.

-- What the centers owe each other (1301), for the centers there are. It may stand on either side.
insert into account (center_id, account_no, code, owner, opened_at)
select c.center_id, 13, 1301, '', c.created_at from center c;
insert into account_balance (center_id, account_no, balance, floor)
select c.center_id, 13, 0, null from center c;

-- Where a stay went to and came from: `{center}/{detainee}`. Names of another center's rows, so no foreign key.
alter table detainee drop constraint detainee_state;
alter table detainee
    add column went_to   text collate "C",
    add column came_from text collate "C",
    add constraint detainee_state check (
        state in ('active', 'releasing', 'released', 'deceased', 'escaped', 'merged', 'transferred')
    ),
    add constraint detainee_transferred check ((state = 'transferred') = (went_to is not null));
grant update (state, went_to) on detainee to custody_service;

-- One row in each of the two centers, numbered by its own transaction; the other center's is named. Allowed in each center by
-- somebody else than whoever asked for it.
create table transfer (
    center_id      integer     not null,
    seq            bigint      not null,
    direction      text        not null collate "C",
    detainee_id    text        not null collate "C",
    other_center   text        not null collate "C",
    other_detainee text        not null collate "C",
    other_seq      bigint      not null,
    document       text        not null,
    amount         numeric     not null,
    approval_no    bigint      not null,
    moved_at       timestamptz not null,
    constraint transfer_pkey primary key (center_id, seq),
    constraint transfer_other_unique unique (center_id, other_center, other_seq),
    -- Nobody leaves a stay twice, or enters it twice.
    constraint transfer_once unique (center_id, detainee_id, direction),
    constraint transfer_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint transfer_approval foreign key (center_id, approval_no) references approval_grant (center_id, approval_no),
    constraint transfer_approval_unique unique (center_id, approval_no),
    constraint transfer_direction check (direction in ('OUT', 'IN')),
    constraint transfer_amount check (amount >= 0 and scale(amount) <= 4)
);

-- A debt that came with its debtor was allowed where it was made.
alter table debt
    add column transfer_seq bigint,
    add constraint debt_transfer foreign key (center_id, transfer_seq) references transfer (center_id, seq);
alter table debt drop constraint debt_advance_two_people;
alter table debt add constraint debt_advance_two_people
    check (kind <> 'ADVANCE' or approval_no is not null or transfer_seq is not null);

-- Money withheld by an authority's written order, numbered by the transaction that withheld it, or brought it here.
create table withholding (
    center_id    integer     not null,
    seq          bigint      not null,
    detainee_id  text        not null collate "C",
    document     text        not null,
    amount       numeric     not null,
    until_at     timestamptz not null,
    recorded_at  timestamptz not null,
    approval_no  bigint,
    transfer_seq bigint,
    constraint withholding_pkey primary key (center_id, seq),
    constraint withholding_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint withholding_approval foreign key (center_id, approval_no) references approval_grant (center_id, approval_no),
    constraint withholding_approval_unique unique (center_id, approval_no),
    constraint withholding_transfer foreign key (center_id, transfer_seq) references transfer (center_id, seq),
    constraint withholding_two_people check ((approval_no is null) <> (transfer_seq is null)),
    constraint withholding_amount check (amount > 0 and scale(amount) <= 4)
);
create index withholding_by_detainee on withholding (center_id, detainee_id, seq);

-- How it ended, once: given back and paid by two people, or moved with the detainee. paid is what the authority got of it.
create table withholding_end (
    center_id   integer not null,
    seq         bigint  not null,
    end_seq     bigint  not null,
    state       text    not null collate "C",
    paid        numeric not null,
    approval_no bigint,
    constraint withholding_end_pkey primary key (center_id, seq),
    constraint withholding_end_unique unique (center_id, end_seq),
    constraint withholding_end_withholding foreign key (center_id, seq) references withholding (center_id, seq),
    constraint withholding_end_approval foreign key (center_id, approval_no)
        references approval_grant (center_id, approval_no),
    constraint withholding_end_approval_unique unique (center_id, approval_no),
    constraint withholding_end_state check (state in ('ENDED', 'MOVED')),
    constraint withholding_end_two_people check ((state = 'ENDED') = (approval_no is not null)),
    constraint withholding_end_paid check (paid >= 0 and scale(paid) <= 4),
    constraint withholding_end_order check (seq < end_seq)
);

grant select, insert on transfer, withholding, withholding_end to custody_service;
