-- At which hours do messages arrive?
SELECT ref_hour,
       sum(msg_count) AS messages,
       100.0 * sum(msg_count) / nullif(sum(sum(msg_count)) OVER (), 0) AS percent
FROM read_parquet('output/upstream_msg_hour/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY ref_hour
ORDER BY ref_hour;
