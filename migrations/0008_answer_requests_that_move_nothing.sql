-- A request that moved nothing has its outcome here: refused, or done with something made that is no transaction (a
-- remittance), named relative to its center. So one id has one outcome, whichever method was called.
alter table refused_request alter column refusal drop not null;
alter table refused_request add column resource text collate "C";
alter table refused_request add constraint refused_request_outcome check ((refusal is null) <> (resource is null));

insert into refused_request (center_id, request_id, method, actor, request, resource, recorded_at, after_seq)
select r.center_id, r.request_id, 'custody.v1.RemittanceService/CreateRemittance', r.actor, r.request,
       'remittances/' || r.remittance_id, r.created_at, 0
from remittance r
on conflict do nothing;
