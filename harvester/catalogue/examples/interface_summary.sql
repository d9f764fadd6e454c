-- How long did the account's server take to answer, and how often did it fail?
SELECT appid, ref_month,
       sum(callback_count) AS calls,
       sum(total_time_cost) / nullif(sum(callback_count), 0) AS average_ms,
       max(max_time_cost) AS slowest_ms,
       100.0 * sum(fail_count) / nullif(sum(callback_count), 0) AS failed_percent
FROM read_parquet('output/interface_summary/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, ref_month
ORDER BY appid, ref_month;
