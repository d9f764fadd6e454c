select
    f.ref_date, account_name, f.appid$client,
    f.callback_count, f.fail_count, f.fail_share, f.average_ms, f.max_time_cost,
    $state
from $interface_summary as f
