-- Quotes that are given up before they are paid, and how often gateways are asked about one remittance.

-- CANCELLED was closed at the gateway because its payer, or the center for them, gave it up. Who did is kept for auditors only.
alter table remittance_leg drop constraint remittance_leg_state;
alter table remittance_leg add constraint remittance_leg_state check (
    state in ('CREATED', 'PENDING', 'FAILED', 'EXPIRED', 'CANCELLED', 'PAID', 'HELD', 'SUSPENDED', 'RELEASED', 'REJECTED',
              'CREDITED')
);
alter table remittance_leg add column actor text collate "C";
alter table remittance_leg add constraint remittance_leg_actor check ((state = 'CANCELLED') = (actor is not null));

-- When callers may have the gateway asked about a remittance again, and how often they have had it closed. Not history.
create table remittance_question (
    center_id     integer     not null,
    remittance_id text        not null collate "C",
    free_at       timestamptz not null,
    closings      integer     not null,
    constraint remittance_question_pkey primary key (center_id, remittance_id),
    constraint remittance_question_remittance foreign key (center_id, remittance_id)
        references remittance (center_id, remittance_id)
);
grant select, insert on remittance_question to custody_service;
grant update (free_at, closings) on remittance_question to custody_service;
