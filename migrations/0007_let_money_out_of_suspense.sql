-- Money in suspense: each payment that was put there, and what became of it.

-- A payment in suspense, numbered by the transaction that put it there. What has paid a remittance first also has its legs
-- PAID and SUSPENDED; every further payment of it is told here only, with the reason DUPLICATE_PAYMENT.
create table suspended_payment (
    center_id           integer     not null,
    seq                 bigint      not null,
    remittance_id       text        not null collate "C",
    gateway_transaction text        not null collate "C",
    paid_at             timestamptz not null,
    amount              numeric     not null,
    reason              text        not null collate "C",
    recorded_at         timestamptz not null,
    constraint suspended_payment_pkey primary key (center_id, seq),
    constraint suspended_payment_amount check (amount > 0 and scale(amount) <= 4)
);
create index suspended_payment_by_remittance on suspended_payment (center_id, remittance_id, seq);
create index suspended_payment_paid on suspended_payment (center_id, paid_at);

-- What became of it, transaction by transaction. TAKEN is set aside for a refund, which then is PAID_BACK or PUT_BACK; CREDITED
-- went to the detainee after all.
create table suspense_movement (
    center_id   integer not null,
    seq         bigint  not null,
    payment_seq bigint  not null,
    kind        text    not null collate "C",
    amount      numeric not null,
    constraint suspense_movement_pkey primary key (center_id, seq),
    constraint suspense_movement_kind check (kind in ('TAKEN', 'PAID_BACK', 'PUT_BACK', 'CREDITED')),
    constraint suspense_movement_order check (payment_seq < seq),
    constraint suspense_movement_amount check (amount > 0 and scale(amount) <= 4)
);
create index suspense_movement_by_payment on suspense_movement (center_id, payment_seq, seq);

insert into suspended_payment (center_id, seq, remittance_id, gateway_transaction, paid_at, amount, reason, recorded_at)
select r.center_id, l.seq, r.remittance_id, p.gateway_transaction, p.paid_at, r.amount, l.detail, l.at
from remittance r
join remittance_leg l on l.center_id = r.center_id and l.remittance_id = r.remittance_id and l.state = 'SUSPENDED'
join remittance_leg p on p.center_id = r.center_id and p.remittance_id = r.remittance_id and p.state = 'PAID';

-- A refund takes money of the detainee's, or money in suspense; credit_seq then is the transaction that put it there.
alter table refund add column from_suspense boolean not null default false;
alter table refund alter column from_suspense drop default;
-- Through which channel it goes, as the remittance came.
alter table refund add column channel text collate "C";
update refund f set channel = r.channel from remittance r
where r.center_id = f.center_id and r.remittance_id = f.remittance_id;
alter table refund alter column channel set not null;

grant select, insert on suspended_payment, suspense_movement to custody_service;
