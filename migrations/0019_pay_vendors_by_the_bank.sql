-- What is agreed with vendors, settlements that two people allow, and the files by which the bank pays them.

-- Commission and cycle, a row for every change; the latest holds.
create table vendor_terms (
    center_id          integer     not null,
    vendor_id          text        not null collate "C",
    version            bigint      not null,
    commission_percent numeric     not null,
    cycle_days         smallint    not null,
    changed_at         timestamptz not null,
    changed_by         text        not null,
    constraint vendor_terms_pkey primary key (center_id, vendor_id, version),
    constraint vendor_terms_vendor foreign key (center_id, vendor_id) references vendor (center_id, vendor_id),
    constraint vendor_terms_version check (version > 0),
    constraint vendor_terms_commission check (commission_percent between 0 and 100 and scale(commission_percent) <= 4),
    constraint vendor_terms_cycle check (cycle_days between 1 and 60)
);

-- Bank accounts that somebody asked for. What others allow names the row and shows the number masked.
create table vendor_account_asked (
    center_id  integer     not null,
    request_id uuid        not null,
    vendor_id  text        not null collate "C",
    holder     text        not null,
    number     text        not null collate "C",
    bank_code  text        not null collate "C",
    bank_name  text        not null,
    asked_at   timestamptz not null,
    constraint vendor_account_asked_pkey primary key (center_id, request_id),
    constraint vendor_account_asked_vendor foreign key (center_id, vendor_id) references vendor (center_id, vendor_id)
);

-- Bank accounts that were allowed, and from when on they are paid to. The first is paid to at once; every other waits a day, so
-- that whoever did not ask for it can say so.
create table vendor_account (
    center_id    integer     not null,
    vendor_id    text        not null collate "C",
    version      bigint      not null,
    request_id   uuid        not null,
    approval_no  bigint      not null,
    approved_at  timestamptz not null,
    effective_at timestamptz not null,
    constraint vendor_account_pkey primary key (center_id, vendor_id, version),
    constraint vendor_account_approval_unique unique (center_id, approval_no),
    constraint vendor_account_approval foreign key (center_id, approval_no) references approval_grant (center_id, approval_no),
    constraint vendor_account_request foreign key (center_id, request_id)
        references vendor_account_asked (center_id, request_id),
    constraint vendor_account_version check (version > 0),
    constraint vendor_account_waits check (
        case when version = 1 then effective_at >= approved_at else effective_at >= approved_at + interval '24 hours' end)
);

-- What the center kept of a settlement.
alter table settlement add column commission numeric not null default 0;
alter table settlement add constraint settlement_commission_scale check (scale(commission) <= 4);
-- One settlement for each vendor and business date; closing again is answered with it.
create index settlement_by_date on settlement (center_id, vendor_id, through_date);

-- Settlements that two people have allowed to be paid.
create table settlement_approval (
    center_id   integer not null,
    seq         bigint  not null,
    approval_no bigint  not null,
    constraint settlement_approval_pkey primary key (center_id, seq),
    constraint settlement_approval_settlement foreign key (center_id, seq) references settlement (center_id, seq),
    constraint settlement_approval_unique unique (center_id, approval_no),
    constraint settlement_approval_approval foreign key (center_id, approval_no)
        references approval_grant (center_id, approval_no)
);

-- Files for the bank, numbered 1, 2, 3 … in each center. seq is the transaction that records the file's hash.
create table payment_file (
    center_id integer     not null,
    file_no   bigint      not null,
    seq       bigint      not null,
    format    text        not null collate "C",
    file_name text        not null collate "C",
    sha256    bytea       not null,
    content   bytea       not null,
    count     integer     not null,
    total     numeric     not null,
    made_at   timestamptz not null,
    constraint payment_file_pkey primary key (center_id, file_no),
    constraint payment_file_seq_unique unique (center_id, seq),
    constraint payment_file_no check (file_no > 0),
    constraint payment_file_hash check (sha256(content) = sha256),
    constraint payment_file_total check (count > 0 and total > 0 and scale(total) <= 4)
);

-- Which settlement stands in which file: each in one, once, and only what was allowed.
create table settlement_sent (
    center_id       integer not null,
    seq             bigint  not null,
    file_no         bigint  not null,
    line_no         integer not null,
    end_to_end_id   text    not null collate "C",
    account_version bigint  not null,
    constraint settlement_sent_pkey primary key (center_id, seq),
    constraint settlement_sent_line_unique unique (center_id, file_no, line_no),
    constraint settlement_sent_end_to_end_unique unique (center_id, end_to_end_id),
    constraint settlement_sent_approved foreign key (center_id, seq) references settlement_approval (center_id, seq),
    constraint settlement_sent_file foreign key (center_id, file_no) references payment_file (center_id, file_no)
);

-- What the bank sent, as it came.
create table bank_message (
    center_id   integer     not null,
    message_no  bigint      not null,
    kind        text        not null collate "C",
    sha256      bytea       not null,
    content     bytea       not null,
    received_at timestamptz not null,
    received_by text        not null,
    constraint bank_message_pkey primary key (center_id, message_no),
    constraint bank_message_unique unique (center_id, kind, sha256),
    constraint bank_message_kind check (kind in ('STATUS', 'STATEMENT')),
    constraint bank_message_hash check (sha256(content) = sha256)
);

grant select, insert on vendor_terms, vendor_account_asked, vendor_account, settlement_approval, payment_file, settlement_sent,
    bank_message to custody_service;
