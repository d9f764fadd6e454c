-- How did the messages of a week change against the week before?
SELECT appid, ref_date AS monday,
       sum(msg_count) AS messages,
       messages - lag(messages) OVER (PARTITION BY appid ORDER BY ref_date) AS change
FROM read_parquet('output/upstream_msg_week/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, ref_date
ORDER BY appid, ref_date;
