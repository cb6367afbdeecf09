-- Money that arrives for somebody who was moved, and when it is sent after them next. It is in suspense, numbered by the
-- transaction that put it there. Not history: a row goes with the money.
create table late_money (
    center_id     integer     not null,
    payment_seq   bigint      not null,
    remittance_id text        not null collate "C",
    attempts      integer     not null,
    next_at       timestamptz not null,
    constraint late_money_pkey primary key (center_id, payment_seq)
);
create index late_money_due on late_money (center_id, next_at);
grant select, insert, delete on late_money to custody_service;
grant update (attempts, next_at) on late_money to custody_service;
