-- The gateway's bills, what came of comparing them with the ledger, and the fees they told.

-- A bill as it was imported, byte for byte: the evidence.
create table bill (
    center_id integer not null,
    sha256    bytea   not null,
    content   bytea   not null,
    constraint bill_pkey primary key (center_id, sha256),
    constraint bill_center foreign key (center_id) references center (center_id),
    constraint bill_sha256_length check (length(sha256) = 32)
);

-- One comparison of one channel's bill of one date with the ledger. The highest run holds; an import that finds what the last
-- run found adds none.
create table reconciliation (
    center_id       integer     not null,
    channel         text        not null collate "C",
    bill_date       date        not null,
    run             integer     not null,
    sha256          bytea       not null,
    line_count      integer     not null,
    matched_count   integer     not null,
    break_count     integer     not null,
    bill_paid       numeric     not null,
    bill_refunded   numeric     not null,
    bill_fees       numeric     not null,
    ledger_paid     numeric     not null,
    ledger_refunded numeric     not null,
    created_at      timestamptz not null,
    created_by      text        not null collate "C",
    constraint reconciliation_pkey primary key (center_id, channel, bill_date, run),
    constraint reconciliation_bill foreign key (center_id, sha256) references bill (center_id, sha256),
    constraint reconciliation_counts check (run > 0 and 0 <= matched_count and matched_count <= line_count and break_count >= 0)
);
create index reconciliation_by_date on reconciliation (center_id, bill_date, channel);

-- What did not match in a run, with the evidence of the side or sides that have it.
create table reconciliation_break (
    center_id integer not null,
    channel   text    not null collate "C",
    bill_date date    not null,
    run       integer not null,
    number    integer not null,
    kind      text    not null collate "C",
    bill_row  integer,
    bill      jsonb,
    ledger    jsonb,
    constraint reconciliation_break_pkey primary key (center_id, channel, bill_date, run, number),
    constraint reconciliation_break_run foreign key (center_id, channel, bill_date, run)
        references reconciliation (center_id, channel, bill_date, run),
    constraint reconciliation_break_kind check (
        kind in ('ONLY_IN_BILL', 'ONLY_IN_LEDGER', 'AMOUNT_DIFFERS', 'DUPLICATE')
    ),
    constraint reconciliation_break_evidence check (
        (kind = 'ONLY_IN_LEDGER') = (bill is null) and (bill is null) = (bill_row is null)
        and (bill is not null or ledger is not null)
    )
);

-- Payments and refunds of the ledger that a bill told exactly, each once: which bill it was, which fee, and the transaction
-- that recorded the fee, when there was one.
create table bill_entry (
    center_id  integer not null,
    channel    text    not null collate "C",
    kind       text    not null collate "C",
    gateway_id text    not null collate "C",
    bill_date  date    not null,
    fee        numeric not null,
    fee_seq    bigint,
    constraint bill_entry_pkey primary key (center_id, channel, kind, gateway_id),
    constraint bill_entry_kind check (kind in ('PAYMENT', 'REFUND')),
    constraint bill_entry_fee check (fee >= 0 and scale(fee) <= 4 and (fee > 0) = (fee_seq is not null))
);
create index bill_entry_by_date on bill_entry (center_id, channel, bill_date);
-- Verification reads the fees in the journal's order.
create index bill_entry_by_fee on bill_entry (center_id, fee_seq) where fee_seq is not null;

-- What a day's bill is compared with.
create index remittance_leg_paid on remittance_leg (center_id, paid_at) where state = 'PAID';
create index refund_leg_succeeded on refund_leg (center_id, at) where state = 'SUCCEEDED';

grant select, insert on bill, reconciliation, reconciliation_break, bill_entry to custody_service;
