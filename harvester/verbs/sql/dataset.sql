select
    $columns
from $rows as d
left join $names as a on a.appid = d.appid
left join (
    select distinct appid, $days as ref_date
    from $rows_of_coverage
    where dataset = $dataset and state = 'provisional'
) as p on p.appid = d.appid and p.ref_date = d.ref_date
