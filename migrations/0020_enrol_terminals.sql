-- Terminals: made by an administrator, enrolled with a code that is used once, known by certificates of the deployment's own
-- authority. All of it is only ever added to; what holds now is the last row of its kind.

create table terminal (
    center_id    integer     not null,
    terminal_id  text        not null collate "C",
    display_name text        not null,
    created_at   timestamptz not null,
    created_by   text        not null collate "C",
    constraint terminal_pkey primary key (center_id, terminal_id),
    constraint terminal_center foreign key (center_id) references center (center_id)
);

-- Enrolment codes, of which the one with the highest number counts; only the hash is kept.
create table terminal_code (
    center_id   integer     not null,
    terminal_id text        not null collate "C",
    code_no     integer     not null,
    hash        bytea       not null,
    created_at  timestamptz not null,
    expires_at  timestamptz not null,
    created_by  text        not null collate "C",
    constraint terminal_code_pkey primary key (center_id, terminal_id, code_no),
    constraint terminal_code_terminal foreign key (center_id, terminal_id) references terminal (center_id, terminal_id),
    constraint terminal_code_no check (code_no >= 1),
    constraint terminal_code_hash check (length(hash) = 32),
    constraint terminal_code_expiry check (expires_at > created_at)
);

-- At most five tries for each code, of which the right one is the last.
create table terminal_code_try (
    center_id   integer     not null,
    terminal_id text        not null collate "C",
    code_no     integer     not null,
    try_no      integer     not null,
    is_right    boolean     not null,
    at          timestamptz not null,
    constraint terminal_code_try_pkey primary key (center_id, terminal_id, code_no, try_no),
    constraint terminal_code_try_code foreign key (center_id, terminal_id, code_no)
        references terminal_code (center_id, terminal_id, code_no),
    constraint terminal_code_try_no check (try_no between 1 and 5)
);
create unique index terminal_code_try_right on terminal_code_try (center_id, terminal_id, code_no) where is_right;

-- Certificates, with the Ed25519 key of each: the terminal's key is that of the highest number. The first certificate under a
-- code is the enrolment (renews is null); each further one renews the one before. Enrolling again, under another code, ends those
-- of the code before.
create table terminal_certificate (
    center_id   integer     not null,
    terminal_id text        not null collate "C",
    number      integer     not null,
    code_no     integer     not null,
    renews      integer,
    serial      bytea       not null,
    public_key  bytea       not null,
    certificate bytea       not null,
    not_before  timestamptz not null,
    not_after   timestamptz not null,
    issued_at   timestamptz not null,
    constraint terminal_certificate_pkey primary key (center_id, terminal_id, number),
    constraint terminal_certificate_serial unique (serial),
    constraint terminal_certificate_code foreign key (center_id, terminal_id, code_no)
        references terminal_code (center_id, terminal_id, code_no),
    constraint terminal_certificate_renews foreign key (center_id, terminal_id, renews)
        references terminal_certificate (center_id, terminal_id, number),
    constraint terminal_certificate_number check (number >= 1),
    constraint terminal_certificate_order check (renews is null or renews = number - 1),
    constraint terminal_certificate_key check (length(public_key) = 32),
    constraint terminal_certificate_time check (not_before < not_after)
);
create unique index terminal_certificate_enrolment on terminal_certificate (center_id, terminal_id, code_no) where renews is null;

-- The end of a terminal, for ever.
create table terminal_revocation (
    center_id   integer     not null,
    terminal_id text        not null collate "C",
    at          timestamptz not null,
    actor       text        not null collate "C",
    reason      text        not null,
    constraint terminal_revocation_pkey primary key (center_id, terminal_id),
    constraint terminal_revocation_terminal foreign key (center_id, terminal_id) references terminal (center_id, terminal_id),
    constraint terminal_revocation_reason check (reason <> '')
);

grant select, insert on terminal, terminal_code, terminal_code_try, terminal_certificate, terminal_revocation to custody_service;
