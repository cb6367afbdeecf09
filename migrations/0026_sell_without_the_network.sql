-- Selling without the network: what a center allows, money set aside for terminals, and the sales that they bring in. What moved,
-- and what was said of each sale, stands in the journal's records; these tables are what terminals and finance are answered from.

-- What a center allows, a row for every change; the last holds. Without a row nothing is allowed.
create table offline_setting (
    center_id     integer     not null,
    version       bigint      not null,
    allowance_max numeric     not null,
    hours_max     smallint    not null,
    report_hours  smallint    not null,
    reason        text        not null,
    set_at        timestamptz not null,
    set_by        text        not null collate "C",
    constraint offline_setting_pkey primary key (center_id, version),
    constraint offline_setting_center foreign key (center_id) references center (center_id),
    constraint offline_setting_version check (version > 0),
    constraint offline_setting_amount check (allowance_max >= 0 and scale(allowance_max) <= 4),
    constraint offline_setting_hours check (hours_max between 1 and 168 and report_hours between 0 and 168)
);

-- Money of one detainee set aside for one terminal, numbered by its transaction. counted_on is the business date in whose spending
-- windows it counts.
create table allowance (
    center_id   integer     not null,
    seq         bigint      not null,
    terminal_id text        not null collate "C",
    detainee_id text        not null collate "C",
    amount      numeric     not null,
    counted_on  date        not null,
    reserved_at timestamptz not null,
    expires_at  timestamptz not null,
    releases_at timestamptz not null,
    constraint allowance_pkey primary key (center_id, seq),
    constraint allowance_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint allowance_amount check (amount > 0 and scale(amount) <= 4),
    constraint allowance_times check (reserved_at < expires_at and expires_at <= releases_at)
);
create index allowance_by_detainee on allowance (center_id, detainee_id, seq);
create index allowance_by_terminal on allowance (center_id, terminal_id, seq);

-- What of an allowance is still set aside, until it ends.
create table allowance_open (
    center_id   integer     not null,
    seq         bigint      not null,
    remaining   numeric     not null,
    releases_at timestamptz not null,
    constraint allowance_open_pkey primary key (center_id, seq),
    constraint allowance_open_allowance foreign key (center_id, seq) references allowance (center_id, seq),
    constraint allowance_open_never_negative check (remaining >= 0)
);
create index allowance_open_by_release on allowance_open (center_id, releases_at);

-- How an allowance ended, numbered by the transaction that released the rest.
create table allowance_end (
    center_id integer not null,
    seq       bigint  not null,
    end_seq   bigint  not null,
    released  numeric not null,
    reason    text    not null collate "C",
    constraint allowance_end_pkey primary key (center_id, seq),
    constraint allowance_end_allowance foreign key (center_id, seq) references allowance (center_id, seq),
    constraint allowance_end_released check (released >= 0),
    constraint allowance_end_reason check (reason in ('REPORTED', 'EXPIRED'))
);

-- The sales of each terminal, numbered 1, 2, 3 … without gaps, with the bytes as they came; seq is the transaction that took it in.
-- Of numbers that were declared lost there are no bytes.
create table offline_sale (
    center_id    integer     not null,
    terminal_id  text        not null collate "C",
    number       bigint      not null,
    seq          bigint      not null,
    state        text        not null collate "C",
    reason       text        not null collate "C",
    message      text        not null,
    hash         bytea,
    statement    bytea,
    signature    bytea,
    detainee_id  text        not null collate "C",
    allowance_no bigint      not null,
    total        numeric     not null,
    sold_at      timestamptz,
    flags        text[]      not null,
    received_at  timestamptz not null,
    received_by  text        not null collate "C",
    constraint offline_sale_pkey primary key (center_id, terminal_id, number),
    constraint offline_sale_number check (number > 0),
    constraint offline_sale_state check (state in ('CAPTURED', 'SETTLED_LATE', 'SHORTAGE', 'REVIEW', 'SKIPPED')),
    constraint offline_sale_bytes check (
        (state = 'SKIPPED') = (statement is null)
        and (statement is null) = (signature is null) and (statement is null) = (hash is null)),
    constraint offline_sale_reason check ((state in ('SHORTAGE', 'REVIEW')) = (reason <> ''))
);
create index offline_sale_by_seq on offline_sale (center_id, seq);

-- Sales that wait for finance, until they end.
create table offline_sale_open (
    center_id   integer not null,
    seq         bigint  not null,
    terminal_id text    not null collate "C",
    number      bigint  not null,
    constraint offline_sale_open_pkey primary key (center_id, seq),
    constraint offline_sale_open_sale foreign key (center_id, terminal_id, number)
        references offline_sale (center_id, terminal_id, number)
);

-- How finance ended them, numbered by the transaction that did. The center pays only what others have allowed.
create table offline_sale_end (
    center_id   integer not null,
    terminal_id text    not null collate "C",
    number      bigint  not null,
    end_seq     bigint  not null,
    way         text    not null collate "C",
    approval_no bigint,
    constraint offline_sale_end_pkey primary key (center_id, terminal_id, number),
    constraint offline_sale_end_sale foreign key (center_id, terminal_id, number)
        references offline_sale (center_id, terminal_id, number),
    constraint offline_sale_end_way check (way in ('CHARGED', 'WRITTEN_OFF', 'DISMISSED')),
    constraint offline_sale_end_approved check ((way = 'WRITTEN_OFF') = (approval_no is not null)),
    constraint offline_sale_end_approval foreign key (center_id, approval_no) references approval_grant (center_id, approval_no)
);

-- Sales whose numbers before are missing, as they came, until those are there.
create table offline_waiting (
    center_id   integer     not null,
    terminal_id text        not null collate "C",
    number      bigint      not null,
    hash        bytea       not null,
    statement   bytea       not null,
    signature   bytea       not null,
    received_at timestamptz not null,
    received_by text        not null collate "C",
    constraint offline_waiting_pkey primary key (center_id, terminal_id, number),
    constraint offline_waiting_number check (number > 1)
);

-- What came in a terminal's name and is none of its sales, as it came.
create table offline_evidence (
    center_id   integer     not null,
    terminal_id text        not null collate "C",
    digest      bytea       not null,
    number      bigint      not null,
    reason      text        not null collate "C",
    message     text        not null,
    statement   bytea       not null,
    signature   bytea       not null,
    received_at timestamptz not null,
    received_by text        not null collate "C",
    constraint offline_evidence_pkey primary key (center_id, terminal_id, digest),
    constraint offline_evidence_reason check (reason in ('MALFORMED', 'SIGNATURE_BROKEN', 'CHANGED_REPEAT'))
);

grant select, insert on offline_setting, allowance, allowance_open, allowance_end, offline_sale, offline_sale_open, offline_sale_end,
    offline_waiting, offline_evidence to custody_service;
grant update (remaining) on allowance_open to custody_service;
grant delete on allowance_open, offline_sale_open, offline_waiting to custody_service;
