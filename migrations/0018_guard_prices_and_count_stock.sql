-- The catalogue as a center allows it: what was approved and what is asked for, who may have it, and how much there is of it.

-- unit and barcode are empty where they were never told. withdrawn_units are the housing units that cannot have it; tags say
-- what is in it, for whom it is not.
alter table product
    add column barcode         text    collate "C" not null default '',
    add column unit            text    not null default '',
    add column approved_price  numeric,
    add column keeps_stock     boolean not null default false,
    add column withdrawn_units text[]  not null default '{}',
    add column tags            text[]  not null default '{}';
update product set approved_price = price;
alter table product
    alter column barcode drop default,
    alter column unit drop default,
    alter column approved_price set not null,
    alter column keeps_stock drop default,
    alter column withdrawn_units drop default,
    alter column tags drop default,
    add constraint product_barcode check (barcode ~ '^([0-9]{8}|[0-9]{12,14})?$'),
    add constraint product_shelf_price check (price <= approved_price and scale(approved_price) <= 4);

-- What of a product can change, version by version: who changed it, when, why, and by which approval if it took two people.
alter table product_price
    add column approved_price  numeric,
    add column withdrawn_units text[] not null default '{}',
    add column tags            text[] not null default '{}',
    add column reason          text   not null default '',
    add column approval_no     bigint;
update product_price set approved_price = price;
alter table product_price
    alter column approved_price set not null,
    alter column withdrawn_units drop default,
    alter column tags drop default,
    alter column reason drop default,
    add constraint product_price_product foreign key (center_id, product_id) references product (center_id, product_id),
    add constraint product_price_version check (version > 0),
    add constraint product_price_shelf check (price > 0 and price <= approved_price and scale(approved_price) <= 4),
    add constraint product_price_approval foreign key (center_id, approval_no)
        references approval_grant (center_id, approval_no);
-- What was allowed once changes a product once.
create unique index product_price_by_approval on product_price (center_id, approval_no) where approval_no is not null;

-- Where a detainee lives and what they must not have; the last number holds. Append-only.
create table buyer (
    center_id    integer     not null,
    detainee_id  text        not null collate "C",
    number       bigint      not null,
    housing_unit text        not null,
    tags         text[]      not null,
    reason       text        not null,
    changed_at   timestamptz not null,
    changed_by   text        not null,
    constraint buyer_pkey primary key (center_id, detainee_id, number),
    constraint buyer_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint buyer_number check (number > 0)
);

-- How many there are of the products that keep stock. The lanes write the absolute value in the statement of the purchase.
create table product_stock (
    center_id  integer not null,
    product_id text    not null collate "C",
    on_hand    bigint  not null,
    constraint product_stock_pkey primary key (center_id, product_id),
    constraint product_stock_product foreign key (center_id, product_id) references product (center_id, product_id),
    constraint product_stock_never_negative check (on_hand >= 0)
) with (fillfactor = 50);

-- What changed it besides purchases and returns, which the journal tells. after_seq is the transaction before it, on_hand
-- what there was after it. Append-only.
create table stock_movement (
    center_id  integer     not null,
    product_id text        not null collate "C",
    number     bigint      not null,
    request_id uuid        not null,
    kind       text        not null collate "C",
    quantity   bigint      not null,
    on_hand    bigint      not null,
    after_seq  bigint      not null,
    reason     text        not null,
    moved_at   timestamptz not null,
    moved_by   text        not null,
    constraint stock_movement_pkey primary key (center_id, product_id, number),
    constraint stock_movement_request_unique unique (center_id, request_id),
    constraint stock_movement_stock foreign key (center_id, product_id) references product_stock (center_id, product_id),
    constraint stock_movement_kind check (kind in ('RECEIVED', 'CORRECTED')),
    constraint stock_movement_quantity check (quantity > 0 or kind = 'CORRECTED' and quantity <> 0),
    constraint stock_movement_on_hand check (on_hand >= 0 and number > 0)
);
create index stock_movement_by_seq on stock_movement (center_id, after_seq);

grant select, insert on buyer, product_stock, stock_movement to custody_service;
grant update (approved_price, barcode, unit, keeps_stock, withdrawn_units, tags) on product to custody_service;
grant update (on_hand) on product_stock to custody_service;
