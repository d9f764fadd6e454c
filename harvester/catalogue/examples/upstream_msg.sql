-- What do people send, and how many messages does a sender send on a day?
SELECT appid, msg_type,
       sum(msg_count) AS messages,
       sum(msg_count) / nullif(sum(msg_user), 0) AS messages_per_sender_and_day
FROM read_parquet('output/upstream_msg/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, msg_type
ORDER BY appid, messages DESC;
