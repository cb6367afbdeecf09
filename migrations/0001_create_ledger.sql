-- The ledger: centers, their account charts and one ordered journal for each.
--
-- Every key begins with center_id and every foreign key stays inside one center, so that the schema can be distributed by
-- center. There are no triggers and no sequences. The hot tables (journal_transaction, posting, account_balance) carry no
-- foreign keys: the lane writes them in one statement from one fold, and `custody verify` replays them.

create table center (
    center_id     integer     not null,
    center_code   text        not null collate "C",
    name          text        not null,
    name_zh       text        not null,
    time_zone     text        not null,
    currency_code text        not null collate "C",
    created_at    timestamptz not null,
    constraint center_pkey primary key (center_id),
    constraint center_code_unique unique (center_code),
    constraint center_currency_code check (currency_code ~ '^[A-Z]{3}$')
);

-- Where a center's journal stands. Whoever writes money moves seq; whoever changes what a decision reads (prices, limits,
-- a detainee's state, policies) moves rules_version. The guard of every batch compares both.
create table journal_head (
    center_id       integer     not null,
    seq             bigint      not null,
    rules_version   bigint      not null,
    next_account_no integer     not null,
    recorded_at     timestamptz not null,
    constraint journal_head_pkey primary key (center_id),
    constraint journal_head_center foreign key (center_id) references center (center_id),
    constraint journal_head_seq check (seq >= 0)
) with (fillfactor = 10);

-- The chart of accounts, opened once and never changed. code is the account's number in the chart; owner names whose it is
-- ('detainees/D1', 'vendors/V1', 'channels/webhook', or '' for the center's own).
create table account (
    center_id  integer     not null,
    account_no integer     not null,
    code       smallint    not null,
    owner      text        not null collate "C",
    opened_at  timestamptz not null,
    constraint account_pkey primary key (center_id, account_no),
    constraint account_owner_unique unique (center_id, code, owner),
    constraint account_center foreign key (center_id) references center (center_id)
);

-- Balances are positive on the account's normal side. floor is null where the account may be negative. The lane only updates:
-- an account must exist before it is posted to.
create table account_balance (
    center_id  integer not null,
    account_no integer not null,
    balance    numeric not null,
    floor      numeric,
    constraint account_balance_pkey primary key (center_id, account_no),
    constraint account_balance_floor check (floor is null or balance >= floor)
) with (fillfactor = 50);

-- recorded_at grows with seq: an instant is found by bisection, without an index that every transaction would pay for.
create table journal_transaction (
    center_id      integer     not null,
    seq            bigint      not null,
    kind           text        not null collate "C",
    recorded_at    timestamptz not null,
    effective_date date        not null,
    request_id     uuid        not null,
    record         bytea       not null,
    leaf_hash      bytea       not null,
    constraint journal_transaction_pkey primary key (center_id, seq),
    constraint journal_transaction_request_unique unique (center_id, request_id),
    constraint journal_transaction_seq check (seq > 0),
    constraint journal_transaction_leaf_hash check (octet_length(leaf_hash) = 32)
);

-- One row is both sides of a movement, so an unbalanced transaction cannot be written down. debit_balance and
-- credit_balance are the two accounts' balances right after this posting.
create table posting (
    center_id      integer  not null,
    seq            bigint   not null,
    leg            smallint not null,
    debit          integer  not null,
    credit         integer  not null,
    amount         numeric  not null,
    debit_balance  numeric  not null,
    credit_balance numeric  not null,
    constraint posting_pkey primary key (center_id, seq, leg),
    constraint posting_amount_positive check (amount > 0 and scale(amount) <= 4),
    constraint posting_two_accounts check (debit <> credit)
);
create index posting_debit on posting (center_id, debit, seq, leg);
create index posting_credit on posting (center_id, credit, seq, leg);

-- Refused requests, frozen. A request that succeeded is told by its journal transaction.
create table refused_request (
    center_id   integer     not null,
    request_id  uuid        not null,
    method      text        not null collate "C",
    actor       text        not null collate "C",
    request     bytea       not null,
    refusal     bytea       not null,
    recorded_at timestamptz not null,
    after_seq   bigint      not null,
    constraint refused_request_pkey primary key (center_id, request_id)
);

-- History is append-only by privilege: the service's role cannot update, delete or truncate it.
grant usage on schema public to custody_service;
-- What changes, it may update column by column: an account's floor, say, never.
grant select, insert on center, account, journal_transaction, posting, refused_request, journal_head, account_balance
    to custody_service;
grant update (seq, rules_version, next_account_no, recorded_at) on journal_head to custody_service;
grant update (balance) on account_balance to custody_service;
