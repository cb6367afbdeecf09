-- What holds a detainee's money is told by a view where orders hold some: allowances hold theirs beside them, so that verification
-- compares all that is held with all that holds it.
do $$
begin
    if to_regclass('detainee_hold') is not null then
        execute 'create or replace view detainee_hold as ' || rtrim(pg_get_viewdef('detainee_hold'::regclass), '; ')
            || ' union all
                select a.center_id, a.detainee_id, sum(o.remaining) as held
                from allowance_open o join allowance a on a.center_id = o.center_id and a.seq = o.seq
                group by a.center_id, a.detainee_id';
    end if;
end $$;
