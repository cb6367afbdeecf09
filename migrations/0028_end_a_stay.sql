-- How stays end: death, escape, payouts in parts, money that nobody collects, the treasury, merged identities, and debts that are
-- written off. What moved, and why, stands in the journal's records; these tables say what lists, jobs and checks look for.

alter table detainee drop constraint detainee_state;
alter table detainee add constraint detainee_state check (
    state in ('active', 'releasing', 'released', 'deceased', 'escaped', 'merged')
);

-- What is sealed (AES-256-GCM, with the keys of identity numbers) and named by a keyed hash: account numbers, names of heirs. The
-- same text of the same center has one row.
create table sealed_text (
    center_id   integer     not null,
    secret_id   text        not null collate "C",
    key_id      text        not null collate "C",
    sealed      bytea       not null,
    recorded_at timestamptz not null,
    recorded_by text        not null collate "C",
    constraint sealed_text_pkey primary key (center_id, secret_id),
    constraint sealed_text_key foreign key (key_id) references identity_key (key_id),
    constraint sealed_text_id check (secret_id ~ '^[0-9a-f]{32}$'),
    constraint sealed_text_length check (length(sealed) > 28)
);

-- That a person died, escaped or was caught again; numbered by its transaction, which moves nothing. The last one holds.
create table custody_change (
    center_id   integer     not null,
    seq         bigint      not null,
    detainee_id text        not null collate "C",
    state       text        not null collate "C",
    document    text        not null,
    changed_at  timestamptz not null,
    constraint custody_change_pkey primary key (center_id, seq),
    constraint custody_change_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint custody_change_state check (state in ('active', 'deceased', 'escaped')),
    constraint custody_change_document check (document <> '')
);
create index custody_change_by_detainee on custody_change (center_id, detainee_id, seq);

-- Who inherits, with the document that proves it. Name and identity number are sealed; name_masked is what people see.
create table heir (
    center_id    integer     not null,
    detainee_id  text        not null collate "C",
    heir_id      text        not null collate "C",
    name_masked  text        not null,
    secret_id    text        not null collate "C",
    relationship text        not null,
    document     text        not null,
    recorded_at  timestamptz not null,
    recorded_by  text        not null collate "C",
    constraint heir_pkey primary key (center_id, detainee_id, heir_id),
    constraint heir_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint heir_secret foreign key (center_id, secret_id) references sealed_text (center_id, secret_id),
    constraint heir_document check (document <> '')
);

-- Money that somebody did not collect, numbered by the transaction that made it so. It is in account 2501 until it ends.
create table unclaimed_sum (
    center_id   integer     not null,
    seq         bigint      not null,
    detainee_id text        not null collate "C",
    amount      numeric     not null,
    made_at     timestamptz not null,
    constraint unclaimed_sum_pkey primary key (center_id, seq),
    constraint unclaimed_sum_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint unclaimed_sum_amount check (amount > 0 and scale(amount) <= 4)
);
create index unclaimed_sum_by_detainee on unclaimed_sum (center_id, detainee_id, seq);

-- Paid to the treasury, and paid to whoever claimed it: each once, and the second may follow the first.
create table unclaimed_end (
    center_id integer not null,
    seq       bigint  not null,
    state     text    not null collate "C",
    end_seq   bigint  not null,
    constraint unclaimed_end_pkey primary key (center_id, seq, state),
    constraint unclaimed_end_sum foreign key (center_id, seq) references unclaimed_sum (center_id, seq),
    constraint unclaimed_end_unique unique (center_id, end_seq),
    constraint unclaimed_end_state check (state in ('TREASURY', 'PAYOUT')),
    constraint unclaimed_end_order check (seq <= end_seq)
);

-- Money on its way out, in parts. Everything but a release of less than 500.00 is allowed by several people.
create table payout (
    center_id     integer not null,
    seq           bigint  not null,
    detainee_id   text    not null collate "C",
    purpose       text    not null collate "C",
    unclaimed_seq bigint,
    amount        numeric not null,
    part_count    integer not null,
    opened_by     text    not null collate "C",
    approval_no   bigint,
    constraint payout_pkey primary key (center_id, seq),
    constraint payout_opened_by_unique unique (center_id, seq, opened_by),
    constraint payout_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint payout_unclaimed foreign key (center_id, unclaimed_seq) references unclaimed_sum (center_id, seq),
    constraint payout_purpose check (purpose in ('RELEASE', 'HEIRS', 'CLAIM')),
    constraint payout_claim check ((purpose = 'CLAIM') = (unclaimed_seq is not null)),
    constraint payout_amount check (amount > 0 and scale(amount) <= 4),
    constraint payout_parts check (part_count between 1 and 10),
    constraint payout_opened_by_lower check (opened_by = lower(opened_by) and opened_by <> ''),
    constraint payout_approval foreign key (center_id, approval_no) references approval_grant (center_id, approval_no),
    constraint payout_approval_unique unique (center_id, approval_no),
    constraint payout_two_people check (approval_no is not null or purpose = 'RELEASE' and amount < 500)
);
create index payout_by_detainee on payout (center_id, detainee_id, seq);

-- payee is masked; the account is sealed.
create table payout_part (
    center_id integer not null,
    seq       bigint  not null,
    part      integer not null,
    amount    numeric not null,
    payee     text    not null,
    heir_id   text    not null collate "C",
    secret_id text    not null collate "C",
    constraint payout_part_pkey primary key (center_id, seq, part),
    constraint payout_part_payout foreign key (center_id, seq) references payout (center_id, seq),
    constraint payout_part_secret foreign key (center_id, secret_id) references sealed_text (center_id, secret_id),
    constraint payout_part_amount check (amount > 0 and scale(amount) <= 4),
    constraint payout_part_number check (part between 1 and 10)
);

-- How each part ended, once. Whoever opened the payout never says that it was paid.
create table payout_part_end (
    center_id integer not null,
    seq       bigint  not null,
    part      integer not null,
    end_seq   bigint  not null,
    state     text    not null collate "C",
    opened_by text    not null collate "C",
    ended_by  text    not null collate "C",
    constraint payout_part_end_pkey primary key (center_id, seq, part),
    constraint payout_part_end_part foreign key (center_id, seq, part) references payout_part (center_id, seq, part),
    constraint payout_part_end_opened_by foreign key (center_id, seq, opened_by)
        references payout (center_id, seq, opened_by),
    constraint payout_part_end_unique unique (center_id, end_seq),
    constraint payout_part_end_state check (state in ('PAID', 'FAILED')),
    constraint payout_part_end_ended_by_lower check (ended_by = lower(ended_by) and ended_by <> ''),
    constraint payout_part_end_two_people check (state <> 'PAID' or ended_by <> opened_by)
);

-- What of a debt will never be repaid, by several people.
create table write_off (
    center_id   integer not null,
    seq         bigint  not null,
    debt_seq    bigint  not null,
    amount      numeric not null,
    document    text    not null,
    approval_no bigint  not null,
    constraint write_off_pkey primary key (center_id, seq),
    constraint write_off_debt foreign key (center_id, debt_seq) references debt (center_id, seq),
    constraint write_off_amount check (amount > 0 and scale(amount) <= 4),
    constraint write_off_document check (document <> ''),
    constraint write_off_approval foreign key (center_id, approval_no) references approval_grant (center_id, approval_no),
    constraint write_off_approval_unique unique (center_id, approval_no)
);
create index write_off_by_debt on write_off (center_id, debt_seq);

-- One person who was booked twice: the duplicate's money is the other's since this transaction.
create table detainee_merge (
    center_id   integer not null,
    detainee_id text    not null collate "C",
    into_id     text    not null collate "C",
    seq         bigint  not null,
    approval_no bigint  not null,
    constraint detainee_merge_pkey primary key (center_id, detainee_id),
    constraint detainee_merge_seq_unique unique (center_id, seq),
    constraint detainee_merge_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint detainee_merge_into foreign key (center_id, into_id) references detainee (center_id, detainee_id),
    constraint detainee_merge_other check (detainee_id <> into_id),
    constraint detainee_merge_approval foreign key (center_id, approval_no)
        references approval_grant (center_id, approval_no),
    constraint detainee_merge_approval_unique unique (center_id, approval_no)
);

-- One person's stays: the later one and the one before it.
create table stay (
    center_id   integer     not null,
    detainee_id text        not null collate "C",
    former_id   text        not null collate "C",
    document    text        not null,
    recorded_at timestamptz not null,
    recorded_by text        not null collate "C",
    constraint stay_pkey primary key (center_id, detainee_id),
    constraint stay_former_unique unique (center_id, former_id),
    constraint stay_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint stay_former foreign key (center_id, former_id) references detainee (center_id, detainee_id),
    constraint stay_other check (detainee_id <> former_id)
);

-- Which reminders of a work item were raised, by how many days it was old then. Each once, whatever process looks.
create table ending_notice (
    center_id integer     not null,
    item_id   text        not null collate "C",
    days      integer     not null,
    raised_at timestamptz not null,
    constraint ending_notice_pkey primary key (center_id, item_id, days),
    constraint ending_notice_item foreign key (center_id, item_id) references work_item (center_id, item_id)
);

grant select, insert on sealed_text, custody_change, heir, unclaimed_sum, unclaimed_end, payout, payout_part, payout_part_end,
    write_off, detainee_merge, stay, ending_notice to custody_service;

-- What nobody collected (2501), and what is written off (5201), for the centers there are.
insert into account (center_id, account_no, code, owner, opened_at)
select c.center_id, a.no, a.code, '', c.created_at from center c, (values (14, 2501), (15, 5201)) a (no, code);
insert into account_balance (center_id, account_no, balance, floor)
select c.center_id, a.no, 0, a.floor from center c, (values (14, 0), (15, null::integer)) a (no, floor);
