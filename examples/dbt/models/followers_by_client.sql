-- Followers of each client by day. Each account counts for itself: a person who follows two of them is in both.
select
    account_client,
    ref_date,
    count(*) as accounts,
    sum(new_user) as new_user,
    sum(cancel_user) as cancel_user,
    sum(cumulate_user) as followers,
    bool_or(provisional) as provisional
from {{ source('wechat', 'followers_daily') }}
where account_client is not null
group by account_client, ref_date
