-- How did each article do in the end, and how many read it to its end?
SELECT appid, msgid, ref_date AS published, title, read_user, share_user, like_user,
       round(100 * read_finish_rate, 1) AS finished_percent
FROM read_parquet('output/article_total_detail/ref_month=*/*.parquet', hive_partitioning = true)
QUALIFY row_number() OVER (PARTITION BY appid, msgid, ref_date ORDER BY stat_date DESC) = 1
ORDER BY read_user DESC
LIMIT 20;

-- Are the rows totals (no falls among many pairs) or single days (falls)?
SELECT count(*) FILTER (WHERE falls) AS falls, count(falls) AS pairs
FROM (
    SELECT read_user < lag(read_user) OVER (
        PARTITION BY appid, ref_date, msgid ORDER BY stat_date
    ) AS falls
    FROM read_parquet('output/article_total_detail/ref_month=*/*.parquet', hive_partitioning = true)
);
