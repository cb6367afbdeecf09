-- What allowances hold of a detainee's money, beside what else holds it: orders, where there are any. The view tells all of it, so
-- that verification compares what is held with what holds it.
do $$
begin
    if to_regclass('detainee_hold') is null then
        create view detainee_hold as
            select a.center_id, a.detainee_id, sum(o.remaining) as held
            from allowance_open o join allowance a on a.center_id = o.center_id and a.seq = o.seq
            group by a.center_id, a.detainee_id;
    else
        execute 'create or replace view detainee_hold as ' || rtrim(pg_get_viewdef('detainee_hold'::regclass), '; ')
            || ' union all
                select a.center_id, a.detainee_id, sum(o.remaining) as held
                from allowance_open o join allowance a on a.center_id = o.center_id and a.seq = o.seq
                group by a.center_id, a.detainee_id';
    end if;
end $$;

grant select on detainee_hold to custody_service;
