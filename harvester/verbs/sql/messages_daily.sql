select
    f.ref_date, account_name, f.appid$client,
    f.msg_count, f.senders, f.msg_count / nullif(f.senders, 0),
    $state
from (
    select
        appid, ref_date, max(msg_count) as msg_count, max(senders) as senders,
        bool_or(provisional) as provisional
    from (
        select
            appid, ref_date, cast(sum(msg_count) as bigint) as msg_count, null as senders,
            bool_or(provisional) as provisional
        from $upstream_msg
        group by appid, ref_date
        union all
        select appid, ref_date, null, cast(sum(msg_user) as bigint), bool_or(provisional)
        from $upstream_msg_dist
        where count_interval > 0
        group by appid, ref_date
    ) as both_datasets
    group by appid, ref_date
) as f
left join $names as a on a.appid = f.appid
