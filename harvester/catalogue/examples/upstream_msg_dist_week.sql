-- How many people wrote in each week?
SELECT appid, ref_date AS monday, sum(msg_user) AS writers
FROM read_parquet('output/upstream_msg_dist_week/ref_month=*/*.parquet', hive_partitioning = true)
WHERE count_interval > 0
GROUP BY appid, ref_date
ORDER BY appid, ref_date;
