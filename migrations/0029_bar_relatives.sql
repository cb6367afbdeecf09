-- Staff who are related to a detainee decide nothing about their money. person is a token's subject in lower case, as in
-- approvals. Rows are only ever added; the last of a pair holds.
create table staff_relation (
    center_id    integer     not null,
    person       text        not null collate "C",
    detainee_id  text        not null collate "C",
    number       integer     not null,
    is_related   boolean     not null,
    relationship text        not null,
    document     text        not null,
    declared_at  timestamptz not null,
    declared_by  text        not null collate "C",
    constraint staff_relation_pkey primary key (center_id, person, detainee_id, number),
    constraint staff_relation_detainee foreign key (center_id, detainee_id) references detainee (center_id, detainee_id),
    constraint staff_relation_person_lower check (person = lower(person) and person <> ''),
    constraint staff_relation_number check (number > 0),
    constraint staff_relation_document check (document <> '')
);
grant select, insert on staff_relation to custody_service;
