-- What do people send, and how many messages does a sender send on a median day?
SELECT appid, msg_type,
       sum(msg_count) AS messages,
       median(msg_count / nullif(msg_user, 0)) AS messages_per_sender
FROM read_parquet('output/upstream_msg/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, msg_type
ORDER BY appid, messages DESC;
