-- Kits of goods granted to detainees who have nothing: paid by the center, owed by nobody.

-- What a kit is; the last version holds. Append-only.
create table kit (
    center_id  integer     not null,
    version    bigint      not null,
    reason     text        not null,
    changed_at timestamptz not null,
    changed_by text        not null collate "C",
    constraint kit_pkey primary key (center_id, version),
    constraint kit_center foreign key (center_id) references center (center_id),
    constraint kit_version check (version > 0)
);

create table kit_line (
    center_id  integer  not null,
    version    bigint   not null,
    line       smallint not null,
    product_id text     not null collate "C",
    quantity   integer  not null,
    constraint kit_line_pkey primary key (center_id, version, line),
    constraint kit_line_kit foreign key (center_id, version) references kit (center_id, version),
    constraint kit_line_product foreign key (center_id, product_id) references product (center_id, product_id),
    constraint kit_line_product_once unique (center_id, version, product_id),
    constraint kit_line_quantity check (quantity between 1 and 1000)
);

-- Kits granted, and those taken back. seq is the journal transaction. Append-only.
create table kit_grant (
    center_id   integer not null,
    seq         bigint  not null,
    detainee_id text    not null collate "C",
    granted_on  date    not null,
    constraint kit_grant_pkey primary key (center_id, seq),
    constraint kit_grant_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id)
);
create index kit_grant_by_detainee on kit_grant (center_id, detainee_id, seq);

create table kit_grant_cancelled (
    center_id integer not null,
    grant_seq bigint  not null,
    seq       bigint  not null,
    constraint kit_grant_cancelled_pkey primary key (center_id, grant_seq),
    constraint kit_grant_cancelled_seq_unique unique (center_id, seq),
    constraint kit_grant_cancelled_grant foreign key (center_id, grant_seq) references kit_grant (center_id, seq)
);

-- Every center has the account that kits are paid from; new ones open it themselves.
insert into account (center_id, account_no, code, owner, opened_at)
select center_id, 12, 5301, '', created_at from center;
insert into account_balance (center_id, account_no, balance, floor)
select center_id, 12, 0, 0 from center;

grant select, insert on kit, kit_line, kit_grant, kit_grant_cancelled to custody_service;
