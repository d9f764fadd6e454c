-- At which hours is the account's server slowest?
SELECT appid, ref_hour,
       sum(total_time_cost) / nullif(sum(callback_count), 0) AS average_ms,
       max(max_time_cost) AS slowest_ms
FROM read_parquet('output/interface_summary_hour/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, ref_hour
ORDER BY average_ms DESC NULLS LAST
LIMIT 20;
