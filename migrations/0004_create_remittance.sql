-- How credits are split, who remits to whom, and what became of every remittance.

-- Every policy a center ever had; the highest version holds. A center without a row follows the default, version 1.
create table distribution_policy (
    center_id       integer     not null,
    version         bigint      not null,
    savings_percent numeric     not null,
    savings_cap     numeric,
    changed_at      timestamptz not null,
    changed_by      text        not null,
    constraint distribution_policy_pkey primary key (center_id, version),
    constraint distribution_policy_center foreign key (center_id) references center (center_id),
    constraint distribution_policy_version check (version > 1),
    constraint distribution_policy_percent check (savings_percent between 0 and 100),
    constraint distribution_policy_cap check (savings_cap is null or savings_cap >= 0 and scale(savings_cap) <= 4)
);

-- A fixed sum a court wants. position is the order of collection.
create table court_order (
    center_id      integer     not null,
    detainee_id    text        not null collate "C",
    court_order_id text        not null collate "C",
    position       integer     not null,
    document       text        not null collate "C",
    total          numeric     not null,
    created_at     timestamptz not null,
    created_by     text        not null,
    constraint court_order_pkey primary key (center_id, detainee_id, court_order_id),
    constraint court_order_position_unique unique (center_id, detainee_id, position),
    constraint court_order_document_unique unique (center_id, detainee_id, document),
    constraint court_order_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint court_order_total_positive check (total > 0 and scale(total) <= 4)
);

-- What was collected of each. The upsert of the lane writes the absolute value, which every credit's record also explains.
create table court_order_collected (
    center_id      integer not null,
    detainee_id    text    not null collate "C",
    court_order_id text    not null collate "C",
    collected      numeric not null,
    constraint court_order_collected_pkey primary key (center_id, detainee_id, court_order_id),
    constraint court_order_collected_not_negative check (collected >= 0)
) with (fillfactor = 50);

create table payer (
    center_id  integer     not null,
    payer_id   text        not null collate "C",
    name       text        not null,
    account    text        not null collate "C",
    created_at timestamptz not null,
    constraint payer_pkey primary key (center_id, payer_id),
    constraint payer_center foreign key (center_id) references center (center_id)
);

create table payer_link (
    center_id   integer     not null,
    payer_id    text        not null collate "C",
    detainee_id text        not null collate "C",
    created_at  timestamptz not null,
    constraint payer_link_pkey primary key (center_id, payer_id, detainee_id),
    constraint payer_link_payer foreign key (center_id, payer_id) references payer (center_id, payer_id),
    constraint payer_link_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id)
);
create index payer_link_by_detainee on payer_link (center_id, detainee_id, payer_id);

-- What was asked for. number counts a center's remittances. The order number at the gateway is made of center_id and
-- remittance_id, so that a notification finds its row by the primary key. preview is the split reckoned when it was created.
create table remittance (
    center_id     integer     not null,
    remittance_id text        not null collate "C",
    number        bigint      not null,
    request_id    uuid        not null,
    actor         text        not null collate "C",
    request       bytea       not null,
    payer_id      text        not null collate "C",
    detainee_id   text        not null collate "C",
    amount        numeric     not null,
    channel       text        not null collate "C",
    clearing_no   integer     not null,
    preview       bytea       not null,
    created_at    timestamptz not null,
    expires_at    timestamptz not null,
    constraint remittance_pkey primary key (center_id, remittance_id),
    constraint remittance_request_unique unique (center_id, request_id),
    constraint remittance_number_unique unique (center_id, number),
    constraint remittance_link foreign key (center_id, payer_id, detainee_id)
        references payer_link (center_id, payer_id, detainee_id),
    constraint remittance_amount_positive check (amount > 0 and scale(amount) <= 4),
    constraint remittance_expiry check (expires_at > created_at)
);
create index remittance_by_payer on remittance (center_id, payer_id, number);
create index remittance_by_detainee on remittance (center_id, detainee_id, number);

-- Every state a remittance reached, once. PENDING carries where to pay; PAID what the gateway said of the payment; CREDITED
-- and SUSPENDED, written by the lane in the statement that moves the money, the number of their transaction.
create table remittance_leg (
    center_id           integer     not null,
    remittance_id       text        not null collate "C",
    state               text        not null collate "C",
    at                  timestamptz not null,
    detail              text        not null,
    payment_url         text,
    gateway_transaction text        collate "C",
    paid_at             timestamptz,
    seq                 bigint,
    constraint remittance_leg_pkey primary key (center_id, remittance_id, state),
    constraint remittance_leg_state check (
        state in ('CREATED', 'PENDING', 'FAILED', 'EXPIRED', 'PAID', 'SUSPENDED', 'CREDITED')
    ),
    constraint remittance_leg_url check ((state = 'PENDING') = (payment_url is not null)),
    constraint remittance_leg_paid check (
        (state = 'PAID') = (gateway_transaction is not null) and (state = 'PAID') = (paid_at is not null)
    ),
    constraint remittance_leg_seq check ((state in ('SUSPENDED', 'CREDITED')) = (seq is not null))
);

-- A transaction brings in one remittance; verification reads the legs in the journal's order.
create unique index remittance_leg_by_seq on remittance_leg (center_id, seq) where seq is not null;

-- Which remittances are asked about next, and when. Not history: a row goes once there is nothing more to ask.
create table remittance_poll (
    center_id     integer     not null,
    remittance_id text        not null collate "C",
    attempts      integer     not null,
    next_at       timestamptz not null,
    constraint remittance_poll_pkey primary key (center_id, remittance_id)
);
create index remittance_poll_next on remittance_poll (center_id, next_at);

-- Notifications that changed nothing. center_id is 0 where they do not tell a center of ours. The same one is kept once.
create table rejected_notification (
    center_id   integer     not null,
    channel     text        not null collate "C",
    digest      bytea       not null,
    reason      text        not null collate "C",
    received_at timestamptz not null,
    body        bytea       not null,
    constraint rejected_notification_pkey primary key (center_id, channel, digest, reason)
);

grant select, insert on distribution_policy, court_order, payer, payer_link, remittance, remittance_leg,
    rejected_notification to custody_service;
grant select, insert on court_order_collected to custody_service;
grant update (collected) on court_order_collected to custody_service;
grant select, insert, delete on remittance_poll to custody_service;
grant update (attempts, next_at) on remittance_poll to custody_service;
