-- The whole life of a remittance: what is held for review, what goes back by itself, and by which rules; and the jobs that
-- see to it.

-- How many payments of one payer are accepted in a month, and what is held for review. 1000 means without limit.
alter table center_settings add column payment_count_max integer not null default 1;
alter table center_settings add column screening_payment_max integer not null default 3;
alter table center_settings add column screening_payment_days integer not null default 7;
alter table center_settings add column screening_payer_max integer not null default 3;
alter table center_settings add column screening_detainee_max integer not null default 3;
alter table center_settings add column screening_party_days integer not null default 28;
alter table center_settings add column review_hours integer not null default 72;
alter table center_settings add constraint center_settings_screening check (
    payment_count_max between 1 and 1000 and screening_payment_max between 1 and 1000
    and screening_payer_max between 1 and 1000 and screening_detainee_max between 1 and 1000
    and screening_payment_days between 1 and 31 and screening_party_days between 1 and 31
    and review_hours between 1 and 720
);
alter table center_settings
    alter column payment_count_max drop default, alter column screening_payment_max drop default,
    alter column screening_payment_days drop default, alter column screening_payer_max drop default,
    alter column screening_detainee_max drop default, alter column screening_party_days drop default,
    alter column review_hours drop default;
grant update (payment_count_max, screening_payment_max, screening_payment_days, screening_payer_max, screening_detainee_max,
    screening_party_days, review_hours) on center_settings to custody_service;

-- HELD is paid and put into suspense for review, until its deadline; then RELEASED, and credited by the same transaction, or
-- REJECTED by the transaction that sets its money aside to go back.
alter table remittance_leg add column deadline timestamptz;
alter table remittance_leg drop constraint remittance_leg_state;
alter table remittance_leg add constraint remittance_leg_state check (
    state in ('CREATED', 'PENDING', 'FAILED', 'EXPIRED', 'PAID', 'HELD', 'SUSPENDED', 'RELEASED', 'REJECTED', 'CREDITED')
);
alter table remittance_leg drop constraint remittance_leg_seq;
alter table remittance_leg add constraint remittance_leg_seq check (
    (state in ('HELD', 'SUSPENDED', 'RELEASED', 'REJECTED', 'CREDITED')) = (seq is not null)
);
alter table remittance_leg add constraint remittance_leg_deadline check ((state = 'HELD') = (deadline is not null));
-- A transaction that releases a remittance also credits it.
drop index remittance_leg_by_seq;
create unique index remittance_leg_by_seq on remittance_leg (center_id, seq, state) where seq is not null;

-- What counts against the balance cap, and the payments of one payer and for one detainee of late, are looked for by time.
create index remittance_by_detainee_expiry on remittance (center_id, detainee_id, expires_at);
create index remittance_by_payer_time on remittance (center_id, payer_id, created_at);
create index remittance_by_detainee_time on remittance (center_id, detainee_id, created_at);

-- Payments in suspense, numbered by the transaction that put them there, that go back to their payers by themselves once they
-- are due: what was over the cap at once, what is held for review when its time is over. Not history: a row goes with the
-- money, wherever it goes.
create table payment_return (
    center_id     integer     not null,
    payment_seq   bigint      not null,
    remittance_id text        not null collate "C",
    attempts      integer     not null,
    due_at        timestamptz not null,
    constraint payment_return_pkey primary key (center_id, payment_seq)
);
create index payment_return_due on payment_return (center_id, due_at);
grant select, insert, delete on payment_return to custody_service;
grant update (attempts, due_at) on payment_return to custody_service;

-- When each job last looked at a center, and how that ended. Not history.
create table job_status (
    center_id       integer     not null,
    job             text        not null collate "C",
    last_run_at     timestamptz not null,
    last_success_at timestamptz,
    last_error      text        not null,
    constraint job_status_pkey primary key (center_id, job)
);
grant select, insert on job_status to custody_service;
grant update (last_run_at, last_success_at, last_error) on job_status to custody_service;
