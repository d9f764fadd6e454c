select
    $columns
from $rows as d
