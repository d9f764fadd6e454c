select
    $columns
from $rows as d
left join $names as a on a.appid = d.appid
left join (
    select appid, array_agg(ref_date) as days
    from (
        select appid, $days as ref_date
        from $rows_of_coverage
        where dataset = $dataset and state in ('provisional', 'quarantined')
    ) as changing_days
    group by appid
) as p on p.appid = d.appid
