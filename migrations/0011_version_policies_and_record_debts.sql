-- Policies with a date, court orders with a rank and a history, debts to the center, and reversed credits.

-- A version holds from its date on, in the center's time zone. Of those that have begun, the one with the latest date holds;
-- of one date, the highest version.
alter table distribution_policy
    add column effective_from date,
    add column debt_percent   numeric,
    add column debt_threshold numeric,
    add column rule_order     text[] collate "C";
update distribution_policy p
set effective_from = (p.changed_at at time zone c.time_zone)::date, debt_percent = 20, debt_threshold = 100,
    rule_order = '{court_order,debt,savings}'
from center c where c.center_id = p.center_id;
alter table distribution_policy
    alter column effective_from set not null,
    alter column debt_percent set not null,
    alter column debt_threshold set not null,
    alter column rule_order set not null,
    add constraint distribution_policy_debt_percent check (debt_percent between 0 and 100),
    add constraint distribution_policy_debt_threshold check (debt_threshold >= 0 and scale(debt_threshold) <= 4),
    add constraint distribution_policy_rule_order check (
        cardinality(rule_order) = 3 and rule_order @> '{court_order,debt,savings}'
    );

-- Lower ranks are collected first; orders of one rank share by what is still owed. position counts a detainee's orders.
alter table court_order add column rank integer;
update court_order set rank = position;
alter table court_order
    alter column rank set not null,
    add constraint court_order_rank check (rank > 0);

-- What became of an order, in order; without any it is collected. The last one tells where it stands.
create table court_order_event (
    center_id      integer     not null,
    detainee_id    text        not null collate "C",
    court_order_id text        not null collate "C",
    number         integer     not null,
    kind           text        not null collate "C",
    document       text        not null,
    at             timestamptz not null,
    changed_by     text        not null,
    constraint court_order_event_pkey primary key (center_id, detainee_id, court_order_id, number),
    constraint court_order_event_order foreign key (center_id, detainee_id, court_order_id)
        references court_order (center_id, detainee_id, court_order_id),
    constraint court_order_event_number check (number > 0),
    constraint court_order_event_kind check (kind in ('SUSPENDED', 'RESUMED', 'ENDED'))
);

-- What a detainee owes the center, numbered by the transaction that recorded it. A CLAIM is what was spent of a credit that
-- is reversed.
create table debt (
    center_id    integer     not null,
    seq          bigint      not null,
    detainee_id  text        not null collate "C",
    kind         text        not null collate "C",
    document     text        not null collate "C",
    amount       numeric     not null,
    is_consented boolean     not null,
    recorded_at  timestamptz not null,
    constraint debt_pkey primary key (center_id, seq),
    constraint debt_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint debt_kind check (kind in ('ADVANCE', 'DAMAGE', 'CLAIM')),
    constraint debt_amount_positive check (amount > 0 and scale(amount) <= 4)
);
create index debt_by_detainee on debt (center_id, detainee_id, seq);
create unique index debt_document_unique on debt (center_id, detainee_id, document) where kind <> 'CLAIM';

-- What was repaid of each. The upsert of the lane writes the absolute value, which every credit's record also explains.
create table debt_repaid (
    center_id integer not null,
    seq       bigint  not null,
    repaid    numeric not null,
    constraint debt_repaid_pkey primary key (center_id, seq),
    constraint debt_repaid_not_negative check (repaid >= 0)
) with (fillfactor = 50);

-- Which credits were reversed, once each, and by which transaction.
create table credit_reversal (
    center_id  integer not null,
    credit_seq bigint  not null,
    seq        bigint  not null,
    constraint credit_reversal_pkey primary key (center_id, credit_seq),
    constraint credit_reversal_seq_unique unique (center_id, seq),
    constraint credit_reversal_order check (credit_seq < seq)
);

-- Whether a detainee is convicted, with every change; the highest number holds. Without a row they are not.
create table legal_status (
    center_id    integer     not null,
    detainee_id  text        not null collate "C",
    number       integer     not null,
    is_convicted boolean     not null,
    document     text        not null,
    changed_at   timestamptz not null,
    changed_by   text        not null,
    constraint legal_status_pkey primary key (center_id, detainee_id, number),
    constraint legal_status_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint legal_status_number check (number > 0)
);

-- What detainees owe (1201), and income that is no sale (4101), for the centers there are.
insert into account (center_id, account_no, code, owner, opened_at)
select c.center_id, a.no, a.code, '', c.created_at from center c, (values (7, 1201), (8, 4101)) a (no, code);
insert into account_balance (center_id, account_no, balance, floor)
select c.center_id, a.no, 0, 0 from center c, (values (7), (8)) a (no);

grant select, insert on court_order_event, debt, debt_repaid, credit_reversal, legal_status to custody_service;
grant update (repaid) on debt_repaid to custody_service;
