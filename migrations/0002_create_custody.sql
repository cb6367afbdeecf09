-- Centers' rules and the people held in them.

-- A center's rules that are numbers. Amounts are in the center's currency.
create table center_settings (
    center_id             integer    not null,
    purchase_amount_max   numeric    not null,
    festival_bonus        numeric    not null,
    festival_months       smallint[] not null,
    remittance_amount_max numeric    not null,
    balance_cap           numeric    not null,
    quote_ttl_s           integer    not null,
    constraint center_settings_pkey primary key (center_id),
    constraint center_settings_center foreign key (center_id) references center (center_id),
    constraint center_settings_positive check (
        purchase_amount_max > 0 and festival_bonus >= 0 and remittance_amount_max > 0 and balance_cap > 0 and quote_ttl_s > 0
    )
);

-- The monthly spending limit of each regime tier.
create table tier_limit (
    center_id integer  not null,
    tier      smallint not null,
    amount    numeric  not null,
    constraint tier_limit_pkey primary key (center_id, tier),
    constraint tier_limit_center foreign key (center_id) references center (center_id),
    constraint tier_limit_amount check (amount >= 0)
);

-- account_base is the number of the available account; held, savings and withheld follow it.
create table detainee (
    center_id    integer     not null,
    detainee_id  text        not null collate "C",
    name         text        not null,
    name_zh      text        not null,
    state        text        not null collate "C",
    tier         smallint    not null,
    account_base integer     not null,
    admitted_at  timestamptz not null,
    constraint detainee_pkey primary key (center_id, detainee_id),
    constraint detainee_account_unique unique (center_id, account_base),
    constraint detainee_tier foreign key (center_id, tier) references tier_limit (center_id, tier),
    constraint detainee_state check (state in ('active', 'releasing', 'released'))
);

grant select, insert on center_settings, tier_limit, detainee to custody_service;
grant update (purchase_amount_max, festival_bonus, festival_months, remittance_amount_max, balance_cap, quote_ttl_s)
    on center_settings to custody_service;
grant update (amount) on tier_limit to custody_service;
grant update (state) on detainee to custody_service;
