-- Who payers are: identity, phone, payment accounts, and the way of each link from request to revocation. All of it is only ever
-- added to; what holds now is the last row of its kind. Legs name the leg before them by a foreign key, so that the database itself
-- keeps their order, the two accounts, and the two people.

alter table payer add column registered_by text collate "C";
update payer set registered_by = 'system/migration';
alter table payer alter column registered_by set not null;

-- Every key that identity numbers were ever encrypted with: a process that lacks one must not register anybody, since it could
-- not notice that somebody is registered already.
create table identity_key (
    key_id        text        not null collate "C",
    first_used_at timestamptz not null,
    constraint identity_key_pkey primary key (key_id),
    constraint identity_key_id check (key_id ~ '^[0-9a-f]{16}$')
);

-- sealed is nonce, ciphertext and tag of AES-256-GCM; it is bound to its center and payer.
create table payer_identity (
    center_id   integer     not null,
    payer_id    text        not null collate "C",
    kind        text        not null collate "C",
    key_id      text        not null collate "C",
    sealed      bytea       not null,
    recorded_at timestamptz not null,
    recorded_by text        not null collate "C",
    constraint payer_identity_pkey primary key (center_id, payer_id),
    constraint payer_identity_payer foreign key (center_id, payer_id) references payer (center_id, payer_id),
    constraint payer_identity_key foreign key (key_id) references identity_key (key_id),
    constraint payer_identity_kind check (kind in (
        'RESIDENT_IDENTITY_CARD', 'PASSPORT', 'HONG_KONG_MACAO_PERMIT', 'TAIWAN_PERMIT', 'FOREIGNER_PERMIT', 'OTHER'
    )),
    constraint payer_identity_sealed check (length(sealed) > 28)
);

-- The keyed hash of kind and number, under every key that the registering process had. The primary key keeps the same document
-- from being registered twice in a center.
create table payer_identity_hash (
    center_id integer not null,
    key_id    text    not null collate "C",
    hash      bytea   not null,
    payer_id  text    not null collate "C",
    constraint payer_identity_hash_pkey primary key (center_id, key_id, hash),
    constraint payer_identity_hash_once unique (center_id, payer_id, key_id),
    constraint payer_identity_hash_identity foreign key (center_id, payer_id)
        references payer_identity (center_id, payer_id),
    constraint payer_identity_hash_length check (length(hash) = 32)
);

-- Every phone number a payer told; the highest position holds.
create table payer_phone (
    center_id integer     not null,
    payer_id  text        not null collate "C",
    position  integer     not null,
    phone     text        not null collate "C",
    at        timestamptz not null,
    actor     text        not null collate "C",
    constraint payer_phone_pkey primary key (center_id, payer_id, position),
    constraint payer_phone_payer foreign key (center_id, payer_id) references payer (center_id, payer_id),
    constraint payer_phone_position check (position >= 1),
    constraint payer_phone_e164 check (phone ~ '^\+[1-9][0-9]{6,14}$')
);

-- One-time codes; only their keyed hash is kept.
create table phone_code (
    center_id  integer     not null,
    payer_id   text        not null collate "C",
    code_no    integer     not null,
    position   integer     not null,
    key_id     text        not null collate "C",
    hash       bytea       not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    constraint phone_code_pkey primary key (center_id, payer_id, code_no),
    constraint phone_code_phone foreign key (center_id, payer_id, position)
        references payer_phone (center_id, payer_id, position),
    constraint phone_code_no check (code_no >= 1),
    constraint phone_code_hash check (length(hash) = 32),
    constraint phone_code_expiry check (expires_at > created_at)
);

-- At most five tries for each code.
create table phone_code_try (
    center_id integer     not null,
    payer_id  text        not null collate "C",
    code_no   integer     not null,
    try_no    integer     not null,
    is_right  boolean     not null,
    at        timestamptz not null,
    actor     text        not null collate "C",
    constraint phone_code_try_pkey primary key (center_id, payer_id, code_no, try_no),
    constraint phone_code_try_code foreign key (center_id, payer_id, code_no)
        references phone_code (center_id, payer_id, code_no),
    constraint phone_code_try_no check (try_no between 1 and 5)
);
create unique index phone_code_try_right on phone_code_try (center_id, payer_id, code_no) where is_right;

-- How a phone was verified: by a code, or by staff, who say how.
create table payer_phone_verification (
    center_id integer     not null,
    payer_id  text        not null collate "C",
    position  integer     not null,
    code_no   integer,
    document  text,
    at        timestamptz not null,
    actor     text        not null collate "C",
    constraint payer_phone_verification_pkey primary key (center_id, payer_id, position),
    constraint payer_phone_verification_phone foreign key (center_id, payer_id, position)
        references payer_phone (center_id, payer_id, position),
    constraint payer_phone_verification_code foreign key (center_id, payer_id, code_no)
        references phone_code (center_id, payer_id, code_no),
    constraint payer_phone_verification_how check ((code_no is null) = (document is not null)),
    constraint payer_phone_verification_staff check (document is null or (document <> '' and actor not like 'payer/%'))
);

-- Payment accounts take turns in two slots: an account is added to a slot once the one before it there was removed.
create table payer_account_leg (
    center_id      integer     not null,
    payer_id       text        not null collate "C",
    slot           integer     not null,
    turn           integer     not null,
    state          text        not null collate "C",
    previous_turn  integer,
    previous_state text        collate "C",
    channel        text        not null collate "C",
    account        text        not null collate "C",
    at             timestamptz not null,
    actor          text        not null collate "C",
    reason         text        not null,
    constraint payer_account_leg_pkey primary key (center_id, payer_id, slot, turn, state),
    constraint payer_account_leg_payer foreign key (center_id, payer_id) references payer (center_id, payer_id),
    constraint payer_account_leg_previous foreign key (center_id, payer_id, slot, previous_turn, previous_state)
        references payer_account_leg (center_id, payer_id, slot, turn, state),
    constraint payer_account_leg_slot check (slot in (1, 2)),
    constraint payer_account_leg_account check (account <> ''),
    constraint payer_account_leg_order check (
        state = 'ADDED' and turn = 1 and previous_turn is null and previous_state is null
        or state = 'ADDED' and turn > 1 and previous_turn is not distinct from turn - 1
            and previous_state is not distinct from 'REMOVED'
        or state = 'REMOVED' and previous_turn is not distinct from turn and previous_state is not distinct from 'ADDED'
    )
);

-- The end of a whole registration.
create table payer_revocation (
    center_id integer     not null,
    payer_id  text        not null collate "C",
    at        timestamptz not null,
    actor     text        not null collate "C",
    reason    text        not null,
    constraint payer_revocation_pkey primary key (center_id, payer_id),
    constraint payer_revocation_payer foreign key (center_id, payer_id) references payer (center_id, payer_id),
    constraint payer_revocation_reason check (reason <> '')
);

-- The way of a link. GRANTED is a link that staff made in one step; every other one is requested by one and approved by another.
create table payer_link_leg (
    center_id         integer     not null,
    payer_id          text        not null collate "C",
    detainee_id       text        not null collate "C",
    position          integer     not null,
    state             text        not null collate "C",
    actor             text        not null collate "C",
    at                timestamptz not null,
    reason            text        not null,
    relationship      text        collate "C",
    previous_position integer,
    previous_state    text        collate "C",
    previous_actor    text        collate "C",
    constraint payer_link_leg_pkey primary key (center_id, payer_id, detainee_id, position),
    constraint payer_link_leg_told unique (center_id, payer_id, detainee_id, position, state, actor),
    constraint payer_link_leg_link foreign key (center_id, payer_id, detainee_id)
        references payer_link (center_id, payer_id, detainee_id),
    constraint payer_link_leg_previous
        foreign key (center_id, payer_id, detainee_id, previous_position, previous_state, previous_actor)
        references payer_link_leg (center_id, payer_id, detainee_id, position, state, actor),
    constraint payer_link_leg_order check (
        position = 1 and previous_position is null and previous_state is null and previous_actor is null
            and state in ('REQUESTED', 'GRANTED')
        or position > 1 and previous_position is not distinct from position - 1
            and previous_state is not null and previous_actor is not null
            and (previous_state, state) in (
                ('REQUESTED', 'APPROVED'), ('REQUESTED', 'REJECTED'), ('REQUESTED', 'REVOKED'),
                ('APPROVED', 'REVOKED'), ('GRANTED', 'REVOKED'), ('REJECTED', 'REQUESTED'), ('REVOKED', 'REQUESTED')
            )
    ),
    constraint payer_link_leg_relationship check ((state in ('REQUESTED', 'GRANTED')) = (relationship is not null)),
    constraint payer_link_leg_reason check (state in ('REQUESTED', 'GRANTED') or reason <> ''),
    constraint payer_link_leg_staff check (state not in ('APPROVED', 'REJECTED', 'GRANTED') or actor not like 'payer/%'),
    -- The same person may have several roles, and be written in any case of letters.
    constraint payer_link_leg_two_people check (
        state not in ('APPROVED', 'REJECTED') or previous_actor like 'payer/%'
        or lower(substring(actor from position('/' in actor) + 1))
            <> lower(substring(previous_actor from position('/' in previous_actor) + 1))
    )
);

-- What was registered before: linked by staff, and with one account at most. Nobody's identity or phone is known.
insert into payer_account_leg (center_id, payer_id, slot, turn, state, channel, account, at, actor, reason)
select center_id, payer_id, 1, 1, 'ADDED', '', account, created_at, 'system/migration', ''
from payer where account <> '';
insert into payer_link_leg (center_id, payer_id, detainee_id, position, state, actor, at, reason, relationship)
select center_id, payer_id, detainee_id, 1, 'GRANTED', 'system/migration', created_at, 'linked before approvals', 'NOT_TOLD'
from payer_link;
alter table payer drop column account;

grant select, insert on identity_key, payer_identity, payer_identity_hash, payer_phone, phone_code, phone_code_try,
    payer_phone_verification, payer_account_leg, payer_revocation, payer_link_leg to custody_service;
