-- Views for ClickHouse and chdb with which it answers the questions of docs/reading.md: names, labels and states joined.
-- Files are looked for in `output` of the folder that chdb was started in.
-- In an object store write s3('https://…/output/…', 'key', 'secret', 'Parquet') in the place of file(…).

create database if not exists wechat;

create or replace view wechat.accounts as
select *, nullif(attributes['client'], '') as account_client from file('output/accounts/*.parquet', Parquet);

create or replace view wechat.codes as select * from file('output/codes/*.parquet', Parquet);

create or replace view wechat.runs as select * from file('output/runs/*.parquet', Parquet);

create or replace view wechat.coverage as
select c.*, a.name as account_name, a.account_client as account_client
from file('output/coverage/ref_month=*/*.parquet', Parquet) as c
left join wechat.accounts as a on a.appid = c.appid
settings join_use_nulls = 1;

create or replace view wechat.coverage_on as
select * from wechat.coverage where {day:Date32} between begin_date and end_date;

create or replace view wechat.days as
select dataset, appid, state, wanted, reason,
       arrayJoin(arrayMap(
           n -> begin_date + n,
           -- A week or a month is its first day, as in the rows of its dataset.
           range(if(match(dataset, '_(week|month)$'), 1, toUInt32(dateDiff('day', begin_date, end_date) + 1)))
       )) as ref_date
from wechat.coverage;

-- The newest day on which at least 95% of the accounts are complete that are neither paused nor refused.
create or replace view wechat.newest_complete_day as
select dataset, max(ref_date) as newest_complete_day
from (
    select dataset, ref_date
    from wechat.days
    where wanted and coalesce(reason, '') not in ('paused', 'refused')
    group by dataset, ref_date
    having countIf(state in ('final', 'provisional')) * 100 >= count() * 95
)
group by dataset;

create or replace view wechat.user_cumulate as
select d.*, a.name as account_name, a.account_client as account_client
from file('output/user_cumulate/ref_month=*/*.parquet', Parquet) as d
left join wechat.accounts as a on a.appid = d.appid
settings join_use_nulls = 1;

create or replace view wechat.user_summary as
select d.*, d.new_user - d.cancel_user as net_user, a.name as account_name, a.account_client as account_client
from file('output/user_summary/ref_month=*/*.parquet', Parquet) as d
left join wechat.accounts as a on a.appid = d.appid
settings join_use_nulls = 1;

create or replace view wechat.followers_by_source_daily as
select d.ref_date as ref_date, d.account_name as account_name, d.appid as appid, d.account_client as account_client,
       coalesce(c.label_en, toString(d.user_source)) as source, d.new_user as new_user, d.cancel_user as cancel_user
from wechat.user_summary as d
left join (
    select code_int, label_en from wechat.codes where dataset = 'user_summary' and column_name = 'user_source'
) as c on c.code_int = d.user_source
settings join_use_nulls = 1;

create or replace view wechat.server_daily as
select d.ref_date as ref_date, a.name as account_name, d.appid as appid, a.account_client as account_client,
       d.callback_count as callback_count, d.fail_count as fail_count,
       d.fail_count / nullif(d.callback_count, 0) as fail_share,
       d.total_time_cost / nullif(d.callback_count, 0) as average_ms, d.max_time_cost as max_time_cost
from file('output/interface_summary/ref_month=*/*.parquet', Parquet) as d
left join wechat.accounts as a on a.appid = d.appid
settings join_use_nulls = 1;

-- The newest row of each article is its total. Where total_fell is true, the rows of the article are no totals.
create or replace view wechat.articles_latest as
select d.ref_date as ref_date, a.name as account_name, d.appid as appid, a.account_client as account_client,
       d.msgid as msgid, d.ref_date as published, d.title as title, d.content_url as content_url,
       d.read_user as read_user, d.share_user as share_user, d.read_user_day_1 as read_user_day_1,
       d.read_user_day_3 as read_user_day_3, d.read_user_day_7 as read_user_day_7,
       d.read_finish_rate as read_finish_rate, d.stat_date as as_of, d.total_fell as total_fell,
       p.appid is not null as provisional
from (
    select *,
           max(stat_date) over article as newest,
           maxIf(read_user, stat_date = ref_date) over article as read_user_day_1,
           maxIf(read_user, stat_date = ref_date + 2) over article as read_user_day_3,
           maxIf(read_user, stat_date = ref_date + 6) over article as read_user_day_7,
           max(fell) over article as total_fell
    from (
        select *,
               coalesce(read_user < lagInFrame(read_user) over ages, false)
               or coalesce(share_user < lagInFrame(share_user) over ages, false)
               or coalesce(praise_money < lagInFrame(praise_money) over ages, false)
               or coalesce(read_subscribe_user < lagInFrame(read_subscribe_user) over ages, false) as fell
        from file('output/article_total_detail/ref_month=*/*.parquet', Parquet)
        window ages as (partition by appid, ref_date, msgid order by stat_date rows between 1 preceding and current row)
    )
    window article as (partition by appid, ref_date, msgid)
) as d
left join wechat.accounts as a on a.appid = d.appid
left join (
    select distinct appid, ref_date from wechat.days where dataset = 'article_total_detail' and state in ('provisional', 'quarantined')
) as p on p.appid = d.appid and p.ref_date = d.ref_date
where d.stat_date = d.newest
settings join_use_nulls = 1;
