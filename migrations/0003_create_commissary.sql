-- Vendors, their products, what came back of purchases, and what each detainee has spent in a month.
--
-- A purchase has no table of its own: its journal record is the purchase, lines and all, numbered by its transaction.

create table vendor (
    center_id  integer     not null,
    vendor_id  text        not null collate "C",
    name       text        not null,
    name_zh    text        not null,
    payable_no integer     not null,
    transit_no integer     not null,
    created_at timestamptz not null,
    constraint vendor_pkey primary key (center_id, vendor_id)
);

-- version counts the product's changes; a purchase records the version it was priced with.
create table product (
    center_id  integer     not null,
    product_id text        not null collate "C",
    vendor_id  text        not null collate "C",
    name       text        not null,
    name_zh    text        not null,
    category   text        not null collate "C",
    price      numeric     not null,
    available  boolean     not null,
    version    bigint      not null,
    created_at timestamptz not null,
    constraint product_pkey primary key (center_id, product_id),
    constraint product_vendor foreign key (center_id, vendor_id) references vendor (center_id, vendor_id),
    constraint product_price_positive check (price > 0 and scale(price) <= 4),
    constraint product_category check (category in ('general', 'food', 'daily', 'medical', 'books', 'legal'))
);
create index product_by_vendor on product (center_id, vendor_id, product_id);

-- Every price a product ever had.
create table product_price (
    center_id  integer     not null,
    product_id text        not null collate "C",
    version    bigint      not null,
    price      numeric     not null,
    available  boolean     not null,
    changed_at timestamptz not null,
    changed_by text        not null,
    constraint product_price_pkey primary key (center_id, product_id, version)
);

-- What came back of a purchase's line. seq is the return's journal transaction.
create table return_line (
    center_id    integer  not null,
    seq          bigint   not null,
    purchase_seq bigint   not null,
    line         smallint not null,
    quantity     integer  not null,
    amount       numeric  not null,
    constraint return_line_pkey primary key (center_id, seq, line),
    constraint return_line_quantity check (quantity > 0)
);
create index return_line_by_purchase on return_line (center_id, purchase_seq, line);

-- Gross spending that counts against the monthly limit, net of returns. The upsert of the lane writes the absolute value.
create table monthly_spending (
    center_id   integer not null,
    detainee_id text    not null collate "C",
    month       date    not null,
    spent       numeric not null,
    constraint monthly_spending_pkey primary key (center_id, detainee_id, month),
    constraint monthly_spending_spent check (spent >= 0)
) with (fillfactor = 50);

grant select, insert on vendor, product, product_price, return_line, monthly_spending to custody_service;
grant update (price, available, version) on product to custody_service;
grant update (spent) on monthly_spending to custody_service;
