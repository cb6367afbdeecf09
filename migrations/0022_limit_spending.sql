-- Limits of spending by order, day, week and month, with every version of them; what raises, freezes or restricts one detainee's;
-- and what was spent on each day.

-- days[n] is what was spent on the n-th of the month, null where nothing ever was. One row for each month: a purchase writes one
-- row whatever windows it counts in, and what comes back changes the day it was bought on and no other. A week is added up of the
-- days of one or two rows.
alter table monthly_spending
    add column days numeric[] not null default '{}',
    add constraint monthly_spending_days check (cardinality(days) <= 31 and not 0 > any(days));
alter table monthly_spending alter column days drop default;
grant update (days) on monthly_spending to custody_service;

-- The rules of spending of a center; the last version holds. after_seq is the transaction after which it does. Append-only.
create table spending_rules (
    center_id           integer     not null,
    version             bigint      not null,
    after_seq           bigint      not null,
    purchase_amount_max numeric     not null,
    festival_bonus      numeric     not null,
    festival_months     smallint[]  not null,
    exempt_categories   text[]      not null,
    grant_below         numeric     not null,
    grant_days          smallint    not null,
    changed_at          timestamptz not null,
    changed_by          text        not null collate "C",
    constraint spending_rules_pkey primary key (center_id, version),
    constraint spending_rules_center foreign key (center_id) references center (center_id),
    constraint spending_rules_version check (version > 0 and after_seq >= 0),
    constraint spending_rules_amounts check (
        purchase_amount_max > 0 and scale(purchase_amount_max) <= 4 and festival_bonus >= 0 and scale(festival_bonus) <= 4
        and grant_below >= 0 and scale(grant_below) <= 4
    ),
    constraint spending_rules_grant_days check (grant_days between 1 and 366),
    constraint spending_rules_exempt check (
        exempt_categories <@ array['general', 'food', 'daily', 'medical', 'books', 'legal']
    )
);

-- The limits of each tier in a version; null where the tier has none (of an order: the center's).
create table spending_rules_tier (
    center_id integer  not null,
    version   bigint   not null,
    tier      smallint not null,
    order_max numeric,
    day_max   numeric,
    week_max  numeric,
    month_max numeric  not null,
    constraint spending_rules_tier_pkey primary key (center_id, version, tier),
    constraint spending_rules_tier_rules foreign key (center_id, version) references spending_rules (center_id, version),
    constraint spending_rules_tier_tier foreign key (center_id, tier) references tier_limit (center_id, tier),
    constraint spending_rules_tier_amounts check (
        order_max > 0 and day_max >= 0 and week_max >= 0 and month_max >= 0
        and scale(order_max) <= 4 and scale(day_max) <= 4 and scale(week_max) <= 4 and scale(month_max) <= 4
    )
);

-- What holds now becomes the first version, and stands nowhere else any more.
insert into spending_rules
select s.center_id, 1, h.seq, s.purchase_amount_max, s.festival_bonus, s.festival_months, '{medical,books,legal}', 10, 30,
       h.recorded_at, 'migration'
from center_settings s join journal_head h on h.center_id = s.center_id;
insert into spending_rules_tier
select center_id, 1, tier, null, null, null, amount from tier_limit;
alter table center_settings
    drop constraint center_settings_positive,
    drop column purchase_amount_max,
    drop column festival_bonus,
    drop column festival_months,
    add constraint center_settings_positive check (remittance_amount_max > 0 and balance_cap > 0 and quote_ttl_s > 0);
alter table tier_limit drop column amount;
comment on table tier_limit is 'The tiers of a center; never taken away. Their limits stand in spending_rules_tier.';

-- What is decided about one detainee's spending for a time: another limit for a window, a freeze by authority, or categories that
-- they are restricted from. What raises a limit or freezes has been allowed by two people. Append-only.
create table spending_measure (
    center_id   integer     not null,
    measure_no  bigint      not null,
    detainee_id text        not null collate "C",
    kind        text        not null collate "C",
    window_name text        collate "C",
    amount      numeric,
    categories  text[]      not null,
    document    text        not null,
    renews      bigint,
    starts_at   timestamptz not null,
    ends_at     timestamptz not null,
    reason      text        not null,
    created_at  timestamptz not null,
    created_by  text        not null collate "C",
    request_id  uuid        not null,
    approval_no bigint,
    constraint spending_measure_pkey primary key (center_id, measure_no),
    constraint spending_measure_request_unique unique (center_id, request_id),
    constraint spending_measure_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint spending_measure_renews foreign key (center_id, renews) references spending_measure (center_id, measure_no),
    constraint spending_measure_approval foreign key (center_id, approval_no)
        references approval_grant (center_id, approval_no),
    constraint spending_measure_kind check (kind in ('OVERRIDE', 'FREEZE', 'RESTRICTION')),
    constraint spending_measure_override check (
        (kind = 'OVERRIDE') = (window_name is not null) and (kind = 'OVERRIDE') = (amount is not null)
        and window_name in ('ORDER', 'DAY', 'WEEK', 'MONTH') and amount >= 0 and scale(amount) <= 4
    ),
    constraint spending_measure_restriction check ((kind = 'RESTRICTION') = (categories <> '{}')),
    constraint spending_measure_two_people check (kind = 'RESTRICTION' or approval_no is not null),
    constraint spending_measure_document check (kind = 'RESTRICTION' or document <> ''),
    constraint spending_measure_freeze check (
        kind <> 'FREEZE' or ends_at <= starts_at + interval '30 days'
    ),
    constraint spending_measure_only_freezes_renew check (renews is null or kind = 'FREEZE' and renews < measure_no),
    constraint spending_measure_time check (starts_at < ends_at and created_at <= starts_at)
);
create unique index spending_measure_by_approval on spending_measure (center_id, approval_no) where approval_no is not null;
create index spending_measure_by_detainee on spending_measure (center_id, detainee_id, ends_at);

-- What was ended before its time. The end of a freeze has been allowed by two people, too. Append-only.
create table spending_measure_end (
    center_id   integer     not null,
    measure_no  bigint      not null,
    kind        text        not null collate "C",
    ended_at    timestamptz not null,
    ended_by    text        not null collate "C",
    reason      text        not null,
    approval_no bigint,
    constraint spending_measure_end_pkey primary key (center_id, measure_no),
    constraint spending_measure_end_measure foreign key (center_id, measure_no)
        references spending_measure (center_id, measure_no),
    constraint spending_measure_end_approval foreign key (center_id, approval_no)
        references approval_grant (center_id, approval_no),
    constraint spending_measure_end_two_people check (kind <> 'FREEZE' or approval_no is not null)
);
create unique index spending_measure_end_by_approval on spending_measure_end (center_id, approval_no)
    where approval_no is not null;

grant select, insert on spending_rules, spending_rules_tier, spending_measure, spending_measure_end to custody_service;
