select
    f.ref_date, account_name, f.appid$client, f.msgid,
    f.ref_date, f.title, f.content_url, coalesce(f.publish_type_label_$lang, cast(f.publish_type as string)),
    f.read_user, f.share_user, f.zaikan_user, f.like_user, f.comment_count, f.collection_user,
    n.day_1, n.day_3, n.day_7,
    f.read_finish_rate, f.read_avg_activetime, f.read_subscribe_user, f.praise_money / 100,
    f.stat_date, coalesce(n.fell, false),
    $state
from $article_total_detail as f
join (
    select
        appid, ref_date, msgid, max(stat_date) as stat_date,
        max(case when stat_date = ref_date then read_user end) as day_1,
        max(case when stat_date = ref_date + 2 then read_user end) as day_3,
        max(case when stat_date = ref_date + 6 then read_user end) as day_7,
        bool_or(fell) as fell
    from (
        select
            appid, ref_date, msgid, stat_date, read_user,
            read_user < lag(read_user) over ages
            or share_user < lag(share_user) over ages
            or praise_money < lag(praise_money) over ages
            or read_subscribe_user < lag(read_subscribe_user) over ages as fell
        from $rows_of_articles
        window ages as (partition by appid, ref_date, msgid order by stat_date)
    ) as each_day
    group by appid, ref_date, msgid
) as n on n.appid = f.appid and n.ref_date = f.ref_date and n.msgid = f.msgid and n.stat_date = f.stat_date
