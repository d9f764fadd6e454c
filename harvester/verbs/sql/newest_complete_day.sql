with ranges as (
    select
        dataset, begin_date, $last_day as end_date,
        case when state in ('final', 'provisional') then 1 else 0 end as complete
    from $coverage
    where wanted and coalesce(reason, '') not in ('paused', 'refused')
)
select dataset, max(next_day - 1)
from (
    select
        dataset,
        lead(day) over (partition by dataset order by day) as next_day,
        sum(complete) over (partition by dataset order by day) as complete,
        sum(accounts) over (partition by dataset order by day) as accounts
    from (
        select dataset, day, sum(complete) as complete, sum(account) as accounts
        from (
            select dataset, begin_date as day, complete, 1 as account from ranges
            union all
            select dataset, end_date + 1, -complete, -1 from ranges
        ) as changes
        group by dataset, day
    ) as days
) as stretches
where accounts > 0 and complete * 100 >= accounts * 95
group by dataset
