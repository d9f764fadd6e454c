-- How many people wrote texts in each month, and how many did each write?
SELECT appid, ref_month,
       msg_user AS people,
       msg_count / nullif(msg_user, 0) AS texts_per_person
FROM read_parquet('output/upstream_msg_month/ref_month=*/*.parquet', hive_partitioning = true)
WHERE msg_type = 1
ORDER BY appid, ref_month;
