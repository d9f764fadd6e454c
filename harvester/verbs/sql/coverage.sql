select
    $columns
from $rows as d
left join $names as a on a.appid = d.appid
