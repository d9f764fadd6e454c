select
    f.ref_date, account_name, f.appid$client,
    f.new_user, f.cancel_user, f.new_user - f.cancel_user, f.cumulate_user,
    $state
from (
    select
        appid, ref_date,
        cast(sum(new_user) as bigint) as new_user,
        cast(sum(cancel_user) as bigint) as cancel_user,
        max(cumulate_user) as cumulate_user,
        bool_or(provisional) as provisional
    from (
        select appid, ref_date, new_user, cancel_user, null as cumulate_user, provisional from $user_summary
        union all
        select appid, ref_date, null, null, cumulate_user, provisional from $user_cumulate
    ) as both_datasets
    group by appid, ref_date
) as f
left join $names as a on a.appid = f.appid
