-- How many people wrote 1 to 5, 6 to 10 and more than 10 messages in each month?
SELECT appid, ref_month,
       coalesce(sum(msg_user) FILTER (WHERE count_interval = 1), 0) AS few,
       coalesce(sum(msg_user) FILTER (WHERE count_interval = 2), 0) AS some,
       coalesce(sum(msg_user) FILTER (WHERE count_interval = 3), 0) AS many
FROM read_parquet('output/upstream_msg_dist_month/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, ref_month
ORDER BY appid, ref_month;
