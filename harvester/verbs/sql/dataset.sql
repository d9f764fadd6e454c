select
    $columns
from $rows as d
left join (
    select appid, $grouped, flatten(array_agg(days)) as days
    from (
        select *, null as days from $names
        union all
        select appid, $nulls, $days from $rows_of_coverage
        where dataset = $dataset and state in ('provisional', 'quarantined')
    ) as known
    group by appid
) as a on a.appid = d.appid
