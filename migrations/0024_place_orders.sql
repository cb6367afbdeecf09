-- Orders: what was ordered, what became of it, and when a center takes orders.
--
-- The journal record is the order and each change of it; these rows are what decisions read, and custody verify derives them.

-- When orders are taken and how long what is waited for; the last version holds. A window is a weekday (1 is Monday) and two
-- minutes of the day, at the same place of three arrays. Append-only.
create table ordering_rules (
    center_id     integer     not null,
    version       bigint      not null,
    weekdays      smallint[]  not null,
    opens         smallint[]  not null,
    closes        smallint[]  not null,
    hold_days     integer     not null,
    return_days   integer     not null,
    dispute_hours integer     not null,
    reason        text        not null,
    changed_at    timestamptz not null,
    changed_by    text        not null,
    constraint ordering_rules_pkey primary key (center_id, version),
    constraint ordering_rules_center foreign key (center_id) references center (center_id),
    constraint ordering_rules_version check (version > 0),
    constraint ordering_rules_windows
        check (cardinality(weekdays) = cardinality(opens) and cardinality(opens) = cardinality(closes)),
    constraint ordering_rules_times check (hold_days between 1 and 90 and return_days between 1 and 365
                                           and dispute_hours between 1 and 720)
);

-- seq is the transaction that ordered it. changes counts what became of it.
create table placed_order (
    center_id      integer     not null,
    seq            bigint      not null,
    detainee_id    text        not null collate "C",
    effective_date date        not null,
    placed_at      timestamptz not null,
    cut_off_at     timestamptz,
    expires_at     timestamptz not null,
    delivered_at   timestamptz,
    state          text        not null collate "C",
    changes        bigint      not null,
    is_held        boolean     not null,
    constraint placed_order_pkey primary key (center_id, seq),
    constraint placed_order_state check (state in ('OPEN', 'DELIVERED', 'SHORT', 'CANCELLED', 'EXPIRED', 'ENDED')),
    constraint placed_order_times check (expires_at > placed_at and (cut_off_at is null or cut_off_at > placed_at)),
    constraint placed_order_held check (is_held or state <> 'OPEN')
) with (fillfactor = 50);
create index placed_order_by_detainee on placed_order (center_id, detainee_id, seq);
create index placed_order_held_by_detainee on placed_order (center_id, detainee_id, seq) where is_held;
create index placed_order_open_by_expiry on placed_order (center_id, expires_at, seq) where state = 'OPEN';

-- What is ordered is to come, has come, will not come, came back or is in dispute: never more is captured than was held.
create table placed_order_line (
    center_id   integer  not null,
    seq         bigint   not null,
    line        smallint not null,
    product_id  text     not null collate "C",
    payable_no  integer  not null,
    quantity    integer  not null,
    unit_price  numeric  not null,
    counted     boolean  not null,
    keeps_stock boolean  not null,
    open        integer  not null,
    delivered   integer  not null,
    released    integer  not null,
    returned    integer  not null,
    disputed    integer  not null,
    dispute_seq bigint,
    constraint placed_order_line_pkey primary key (center_id, seq, line),
    constraint placed_order_line_pieces check (quantity > 0 and quantity = open + delivered + released + returned + disputed),
    constraint placed_order_line_never_negative
        check (open >= 0 and delivered >= 0 and released >= 0 and returned >= 0 and disputed >= 0),
    constraint placed_order_line_dispute check (disputed = 0 or dispute_seq is not null),
    constraint placed_order_line_price check (unit_price > 0 and scale(unit_price) <= 4)
) with (fillfactor = 50);

-- What a transaction did to a line, but for returns, which return_line tells. Append-only.
create table placed_order_change (
    center_id integer  not null,
    seq       bigint   not null,
    order_seq bigint   not null,
    line      smallint not null,
    delivered integer  not null,
    released  integer  not null,
    contested integer  not null,
    upheld    integer  not null,
    conceded  integer  not null,
    state     text     not null collate "C",
    constraint placed_order_change_pkey primary key (center_id, seq, order_seq, line),
    constraint placed_order_change_pieces
        check (delivered >= 0 and released >= 0 and contested >= 0 and upheld >= 0 and conceded >= 0)
);
create index placed_order_change_by_order on placed_order_change (center_id, order_seq, seq);

grant select, insert on ordering_rules, placed_order, placed_order_line, placed_order_change to custody_service;
grant update (delivered_at, state, changes, is_held) on placed_order to custody_service;
grant update (open, delivered, released, returned, disputed, dispute_seq) on placed_order_line to custody_service;
