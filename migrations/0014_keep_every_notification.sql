-- Every notification that a gateway has posted, believed or not, a row a delivery. Those that move money are written by the statement
-- that moves it. What is not believed is kept at most 60 times a minute by each process; bodies of what changed nothing are in
-- rejected_notification. center_id is 0 where a notification tells no center of ours.
--
-- verdict: BELIEVED, REJECTED (genuine, and contradicts what we know) or UNBELIEVED; reason says why it changed nothing.
-- effect: CREDITED and SUSPENDED with the transaction; REPEATED with the transaction that was there before; UNMATCHED, money of an
-- order that was never issued; REFUND, the outcome of one; NONE. subject is the remittance, the order's or the refund's number.
create table notification (
    center_id   integer     not null,
    delivery_id uuid        not null,
    channel     text        not null collate "C",
    received_at timestamptz not null,
    digest      bytea       not null,
    body_bytes  integer     not null,
    headers     text        not null,
    verdict     text        not null collate "C",
    reason      text        not null collate "C",
    effect      text        not null collate "C",
    subject     text        not null collate "C",
    seq         bigint,
    constraint notification_pkey primary key (center_id, delivery_id),
    constraint notification_digest check (octet_length(digest) = 32),
    constraint notification_headers check (length(headers) <= 4096),
    constraint notification_verdict check (verdict in ('BELIEVED', 'REJECTED', 'UNBELIEVED')),
    constraint notification_effect check (
        effect in ('CREDITED', 'SUSPENDED', 'REPEATED', 'UNMATCHED', 'REFUND', 'NONE')
    ),
    constraint notification_reason check ((verdict = 'BELIEVED') = (reason = '')),
    constraint notification_changes_nothing check (verdict = 'BELIEVED' or effect = 'NONE'),
    constraint notification_seq check ((effect in ('CREDITED', 'SUSPENDED', 'REPEATED')) = (seq is not null))
);
-- A transaction is the effect of one delivery.
create unique index notification_by_seq on notification (center_id, seq) where effect in ('CREDITED', 'SUSPENDED');

grant select, insert on notification to custody_service;
