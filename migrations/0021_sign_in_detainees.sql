-- The person in front of a terminal: cards and PINs, biometric modules, sessions. Only ever added to, but for challenges, which
-- are no history.

-- Whether purchases need a session, a row for every change; the latest holds. Without one they do not, but at terminals that come
-- with a certificate.
create table session_policy (
    center_id        integer     not null,
    version          integer     not null,
    require_sessions boolean     not null,
    changed_at       timestamptz not null,
    changed_by       text        not null collate "C",
    constraint session_policy_pkey primary key (center_id, version),
    constraint session_policy_center foreign key (center_id) references center (center_id),
    constraint session_policy_version check (version >= 1)
);

create table card (
    center_id   integer     not null,
    card_id     text        not null collate "C",
    detainee_id text        not null collate "C",
    issued_at   timestamptz not null,
    issued_by   text        not null collate "C",
    constraint card_pkey primary key (center_id, card_id),
    constraint card_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id)
);
create index card_by_detainee on card (center_id, detainee_id, card_id);

-- The end of a card, for ever.
create table card_end (
    center_id integer     not null,
    card_id   text        not null collate "C",
    at        timestamptz not null,
    actor     text        not null collate "C",
    reason    text        not null,
    constraint card_end_pkey primary key (center_id, card_id),
    constraint card_end_card foreign key (center_id, card_id) references card (center_id, card_id),
    constraint card_end_reason check (reason <> '')
);

-- Every PIN a card ever had, hashed with argon2id; the highest number counts. A temporary one is staff's and only good for setting
-- another, which only the detainee does.
create table card_pin (
    center_id    integer     not null,
    card_id      text        not null collate "C",
    number       integer     not null,
    is_temporary boolean     not null,
    memory_kib   integer     not null,
    passes       integer     not null,
    salt         bytea       not null,
    hash         bytea       not null,
    set_at       timestamptz not null,
    set_by       text        not null collate "C",
    constraint card_pin_pkey primary key (center_id, card_id, number),
    constraint card_pin_card foreign key (center_id, card_id) references card (center_id, card_id),
    constraint card_pin_number check (number >= 1),
    constraint card_pin_hash check (length(salt) = 16 and length(hash) = 32),
    constraint card_pin_setter check (is_temporary = (set_by not like 'detainee/%'))
);

-- Tries to sign in by PIN, of cards that exist and of those that do not, which are known by a hash: what is typed may be anything.
-- A try is written down as failed before the PIN is looked at, so that nobody tries more by trying at once. `failures` are those
-- since the last right PIN or reset.
create table card_try (
    center_id   integer     not null,
    card_hash   bytea       not null,
    number      integer     not null,
    outcome     text        not null collate "C",
    failures    integer     not null,
    at          timestamptz not null,
    terminal_id text        collate "C",
    constraint card_try_pkey primary key (center_id, card_hash, number),
    constraint card_try_number check (number >= 1),
    constraint card_try_hash check (length(card_hash) = 32),
    constraint card_try_outcome check (outcome in ('FAILED', 'RIGHT', 'RESET')),
    constraint card_try_failures check (case when outcome = 'FAILED' then failures >= 1 else failures = 0 end)
);

-- The public keys of terminals' biometric modules; the highest number counts, and without a key there is no module any more.
create table terminal_module (
    center_id   integer     not null,
    terminal_id text        not null collate "C",
    number      integer     not null,
    public_key  bytea,
    at          timestamptz not null,
    actor       text        not null collate "C",
    constraint terminal_module_pkey primary key (center_id, terminal_id, number),
    constraint terminal_module_terminal foreign key (center_id, terminal_id) references terminal (center_id, terminal_id),
    constraint terminal_module_number check (number >= 1),
    constraint terminal_module_key check (length(public_key) = 32)
);

-- What modules are asked to sign. Taken away when it is used, rightly or not, and when it is old.
create table sign_in_challenge (
    center_id   integer     not null,
    challenge   bytea       not null,
    terminal_id text        not null collate "C",
    expires_at  timestamptz not null,
    constraint sign_in_challenge_pkey primary key (center_id, challenge),
    constraint sign_in_challenge_length check (length(challenge) = 32)
);
create index sign_in_challenge_by_terminal on sign_in_challenge (center_id, terminal_id);

-- Sessions of detainees at terminals. A bound one began over a certificate of the terminal and is good over one only; a limited
-- one only sets another PIN.
create table detainee_session (
    center_id   integer     not null,
    session_id  uuid        not null,
    detainee_id text        not null collate "C",
    terminal_id text        not null collate "C",
    card_id     text        collate "C",
    is_bound    boolean     not null,
    is_limited  boolean     not null,
    began_at    timestamptz not null,
    expires_at  timestamptz not null,
    constraint detainee_session_pkey primary key (center_id, session_id),
    constraint detainee_session_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint detainee_session_card foreign key (center_id, card_id) references card (center_id, card_id),
    constraint detainee_session_time check (began_at < expires_at),
    constraint detainee_session_limited check (card_id is not null or not is_limited)
);
create index detainee_session_by_detainee on detainee_session (center_id, detainee_id, expires_at);

-- Sessions that ended before their time.
create table detainee_session_end (
    center_id  integer     not null,
    session_id uuid        not null,
    at         timestamptz not null,
    actor      text        not null collate "C",
    reason     text        not null collate "C",
    constraint detainee_session_end_pkey primary key (center_id, session_id),
    constraint detainee_session_end_session foreign key (center_id, session_id)
        references detainee_session (center_id, session_id),
    constraint detainee_session_end_reason check (reason in ('SIGNED_OUT', 'PIN_CHANGED', 'PIN_RESET', 'CARD_ENDED'))
);

grant select, insert on session_policy, card, card_end, card_pin, card_try, terminal_module, detainee_session,
    detainee_session_end to custody_service;
grant select, insert, delete on sign_in_challenge to custody_service;
