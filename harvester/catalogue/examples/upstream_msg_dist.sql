-- Which part of those who write on a day write more than ten messages?
SELECT appid, ref_date,
       coalesce(sum(msg_user) FILTER (WHERE count_interval = 3), 0) AS many,
       sum(msg_user) AS writers,
       100.0 * many / nullif(writers, 0) AS percent
FROM read_parquet('output/upstream_msg_dist/ref_month=*/*.parquet', hive_partitioning = true)
WHERE count_interval > 0
GROUP BY appid, ref_date
ORDER BY appid, ref_date;
