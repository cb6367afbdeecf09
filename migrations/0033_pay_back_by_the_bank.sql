-- Bank accounts of payers and detainees, by which money goes back or out that no gateway can take, and what goes that way.

-- Accounts that somebody asked for, and whose: payers/P1 or detainees/D1. The number is sealed.
create table bank_account_asked (
    center_id   integer     not null,
    request_id  uuid        not null,
    owner       text        not null collate "C",
    holder      text        not null,
    masked      text        not null collate "C",
    key_id      text        not null collate "C",
    sealed      bytea       not null,
    bank_code   text        not null collate "C",
    bank_name   text        not null,
    asked_at    timestamptz not null,
    constraint bank_account_asked_pkey primary key (center_id, request_id),
    constraint bank_account_asked_owner check (owner ~ '^(payers|detainees)/.+$')
);

-- Accounts that another person has verified: the latest of each owner is paid to.
create table bank_account (
    center_id   integer     not null,
    owner       text        not null collate "C",
    version     bigint      not null,
    request_id  uuid        not null,
    approval_no bigint      not null,
    approved_at timestamptz not null,
    constraint bank_account_pkey primary key (center_id, owner, version),
    constraint bank_account_approval_unique unique (center_id, approval_no),
    constraint bank_account_approval foreign key (center_id, approval_no)
        references approval_grant (center_id, approval_no),
    constraint bank_account_request foreign key (center_id, request_id)
        references bank_account_asked (center_id, request_id),
    constraint bank_account_version check (version > 0)
);

-- Refunds that the bank pays, and to which account.
create table refund_payout (
    center_id       integer not null,
    seq             bigint  not null,
    owner           text    not null collate "C",
    account_version bigint  not null,
    approval_no     bigint  not null,
    constraint refund_payout_pkey primary key (center_id, seq),
    constraint refund_payout_refund foreign key (center_id, seq) references refund (center_id, seq),
    constraint refund_payout_account foreign key (center_id, owner, account_version)
        references bank_account (center_id, owner, version),
    constraint refund_payout_approval foreign key (center_id, approval_no)
        references approval_grant (center_id, approval_no)
);

-- Redirected refunds that the gateway has paid to the center's own bank account. paid_seq is the transaction that says so: the
-- payer is owed the money until the bank has paid it.
create table refund_redirect_paid (
    center_id      integer     not null,
    seq            bigint      not null,
    paid_seq       bigint      not null,
    gateway_refund text        not null,
    paid_at        timestamptz not null,
    constraint refund_redirect_paid_pkey primary key (center_id, seq),
    constraint refund_redirect_paid_seq_unique unique (center_id, paid_seq),
    constraint refund_redirect_paid_redirect foreign key (center_id, seq) references refund_redirect (center_id, seq)
);
create index refund_redirect_paid_at on refund_redirect_paid (center_id, paid_at);

-- Which refund stands in which file: each in one, once.
create table refund_sent (
    center_id     integer not null,
    seq           bigint  not null,
    file_no       bigint  not null,
    line_no       integer not null,
    end_to_end_id text    not null collate "C",
    constraint refund_sent_pkey primary key (center_id, seq),
    constraint refund_sent_line_unique unique (center_id, file_no, line_no),
    constraint refund_sent_end_to_end_unique unique (center_id, end_to_end_id),
    constraint refund_sent_payout foreign key (center_id, seq) references refund_payout (center_id, seq),
    constraint refund_sent_file foreign key (center_id, file_no) references payment_file (center_id, file_no)
);

-- A refund is ABNORMAL when the gateway cannot pay it to where the money came from, and REDIRECTED when the gateway has paid it to
-- the center instead.
alter table refund_leg drop constraint refund_leg_state;
alter table refund_leg add constraint refund_leg_state
    check (state in ('REQUESTED', 'SUBMITTED', 'ABNORMAL', 'REDIRECTED', 'SUCCEEDED', 'FAILED'));

grant select, insert on bank_account_asked, bank_account, refund_payout, refund_redirect_paid, refund_sent to custody_service;
