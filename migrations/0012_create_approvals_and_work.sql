-- Two people for one decision, and the work that waits for people.

-- What one person asked for and others have to allow. Append-only. person is whoever has the token, whatever their role, in
-- lower case: two tokens of one subject are one person.
create table approval (
    center_id       integer     not null,
    approval_no     bigint      not null,
    request_id      uuid        not null,
    kind            text        not null collate "C",
    subject         text        not null collate "C",
    command         bytea       not null,
    summary         text        not null,
    amount          numeric,
    checkers_needed smallint    not null,
    maker           text        not null collate "C",
    maker_actor     text        not null collate "C",
    reason          text        not null,
    created_at      timestamptz not null,
    expires_at      timestamptz not null,
    constraint approval_pkey primary key (center_id, approval_no),
    constraint approval_request_unique unique (center_id, request_id),
    constraint approval_maker_unique unique (center_id, approval_no, maker),
    constraint approval_center foreign key (center_id) references center (center_id),
    constraint approval_amount_positive check (amount is null or amount > 0 and scale(amount) <= 4),
    constraint approval_checkers check (checkers_needed between 1 and 2),
    -- From 5,000.00 three people: one who asks and two who allow.
    constraint approval_three_people check (amount is null or amount < 5000 or checkers_needed >= 2),
    constraint approval_maker_lower check (maker = lower(maker) and maker <> ''),
    constraint approval_expiry check (expires_at > created_at)
);
create index approval_by_subject on approval (center_id, subject, approval_no);

-- Who decided. Never the maker, and nobody twice.
create table approval_decision (
    center_id   integer     not null,
    approval_no bigint      not null,
    person      text        not null collate "C",
    actor       text        not null collate "C",
    maker       text        not null collate "C",
    verdict     text        not null collate "C",
    reason      text        not null,
    decided_at  timestamptz not null,
    constraint approval_decision_pkey primary key (center_id, approval_no, person),
    constraint approval_decision_approval foreign key (center_id, approval_no, maker)
        references approval (center_id, approval_no, maker),
    constraint approval_decision_not_by_maker check (person <> maker),
    constraint approval_decision_person_lower check (person = lower(person) and person <> ''),
    constraint approval_decision_verdict check (verdict in ('APPROVED', 'REFUSED'))
);

-- How it ended, once. seq is the transaction that what was asked for made, if it made one.
create table approval_end (
    center_id   integer     not null,
    approval_no bigint      not null,
    state       text        not null collate "C",
    ended_at    timestamptz not null,
    seq         bigint,
    refusal     bytea,
    constraint approval_end_pkey primary key (center_id, approval_no),
    constraint approval_end_approval foreign key (center_id, approval_no) references approval (center_id, approval_no),
    constraint approval_end_state check (state in ('EXECUTED', 'FAILED', 'REFUSED', 'EXPIRED')),
    constraint approval_end_seq check (seq is null or state = 'EXECUTED'),
    constraint approval_end_refusal check ((state = 'FAILED') = (refusal is not null))
);
create unique index approval_end_by_seq on approval_end (center_id, seq) where seq is not null;

-- Those without an end, one for each subject, and when they are looked at next: when they expire, or to run what was
-- allowed. Not history: a row goes with the end.
create table approval_open (
    center_id   integer     not null,
    approval_no bigint      not null,
    subject     text        not null collate "C",
    attempts    integer     not null,
    next_at     timestamptz not null,
    constraint approval_open_pkey primary key (center_id, approval_no),
    constraint approval_open_subject_unique unique (center_id, subject)
);
create index approval_open_due on approval_open (center_id, next_at);

grant select, insert on approval, approval_decision, approval_end to custody_service;
grant select, insert, delete on approval_open to custody_service;
grant update (attempts, next_at) on approval_open to custody_service;

-- What people have to look at. Append-only; nothing is without a deadline. subject is relative to the center.
create table work_item (
    center_id   integer     not null,
    item_id     text        not null collate "C",
    kind        text        not null collate "C",
    subject     text        not null collate "C",
    priority    smallint    not null,
    facts       bytea       not null,
    opened_at   timestamptz not null,
    deadline_at timestamptz not null,
    constraint work_item_pkey primary key (center_id, item_id),
    constraint work_item_priority check (priority between 1 and 3),
    constraint work_item_deadline check (deadline_at > opened_at)
);
create index work_item_by_deadline on work_item (center_id, deadline_at, item_id);
create index work_item_by_subject on work_item (center_id, subject, item_id);

-- What became of it. seq is the transaction that closed it, if one did.
create table work_item_leg (
    center_id integer     not null,
    item_id   text        not null collate "C",
    leg       smallint    not null,
    state     text        not null collate "C",
    at        timestamptz not null,
    actor     text        not null collate "C",
    reason    text        not null,
    seq       bigint,
    constraint work_item_leg_pkey primary key (center_id, item_id, leg),
    constraint work_item_leg_item foreign key (center_id, item_id) references work_item (center_id, item_id),
    constraint work_item_leg_state check (state in ('TAKEN', 'DONE', 'CANCELLED')),
    constraint work_item_leg_seq check (seq is null or state = 'DONE')
);
-- An item ends once.
create unique index work_item_leg_one_end on work_item_leg (center_id, item_id) where state in ('DONE', 'CANCELLED');

-- Those that are not done: one of a kind for each subject, so that raising one again changes nothing. Not history.
create table work_item_open (
    center_id   integer     not null,
    kind        text        not null collate "C",
    subject     text        not null collate "C",
    item_id     text        not null collate "C",
    deadline_at timestamptz not null,
    constraint work_item_open_pkey primary key (center_id, kind, subject),
    constraint work_item_open_item_unique unique (center_id, item_id)
);
create index work_item_open_due on work_item_open (center_id, deadline_at, item_id);

grant select, insert on work_item, work_item_leg to custody_service;
grant select, insert, delete on work_item_open to custody_service;

-- What money without an order is matched by, beside the custody number. Unknown where it was never told.
alter table detainee add column birth_date date;
create index detainee_by_name on detainee (center_id, lower(name));
create index detainee_by_name_zh on detainee (center_id, name_zh);
create index detainee_by_number on detainee (center_id, lower(detainee_id));

-- Money without one of our orders, numbered by the transaction that put it into suspense: a line of the bank's (channel is
-- empty then, and reference the bank's), or a payment of an order that was never issued (reference is the gateway's number).
create table unmatched_sum (
    center_id     integer     not null,
    seq           bigint      not null,
    channel       text        not null collate "C",
    reference     text        not null collate "C",
    amount        numeric     not null,
    value_date    date        not null,
    recorded_at   timestamptz not null,
    constraint unmatched_sum_pkey primary key (center_id, seq),
    constraint unmatched_sum_reference_unique unique (center_id, channel, reference),
    constraint unmatched_sum_amount check (amount > 0 and scale(amount) <= 4)
);

-- What became of it, once and whole.
create table unmatched_end (
    center_id   integer not null,
    seq         bigint  not null,
    end_seq     bigint  not null,
    state       text    not null collate "C",
    detainee_id text    collate "C",
    constraint unmatched_end_pkey primary key (center_id, seq),
    constraint unmatched_end_unique unique (center_id, end_seq),
    constraint unmatched_end_state check (state in ('CREDITED', 'RETURNED')),
    constraint unmatched_end_detainee check ((state = 'CREDITED') = (detainee_id is not null)),
    constraint unmatched_end_order check (seq < end_seq)
);

grant select, insert on unmatched_sum, unmatched_end to custody_service;

-- Money that is in suspense already gets its item: day 7 is when it goes back.
with left_there as (
    select p.center_id, p.seq, p.recorded_at
    from suspended_payment p left join suspense_movement m on m.center_id = p.center_id and m.payment_seq = p.seq
    group by p.center_id, p.seq, p.recorded_at, p.amount
    having p.amount - coalesce(sum(case m.kind when 'TAKEN' then m.amount when 'CREDITED' then m.amount
                                               when 'PUT_BACK' then -m.amount else 0 end), 0) > 0
), item as (
    insert into work_item (center_id, item_id, kind, subject, priority, facts, opened_at, deadline_at)
    select center_id, 'S' || seq, 'SUSPENDED_PAYMENT', 'transactions/' || seq, 2, '', recorded_at, recorded_at + interval '7 days'
    from left_there
    returning center_id, kind, subject, item_id, deadline_at
)
insert into work_item_open (center_id, kind, subject, item_id, deadline_at) select * from item;
