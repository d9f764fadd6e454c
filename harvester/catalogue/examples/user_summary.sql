-- How many followers did each account win, net, in each month?
SELECT appid, ref_month,
       sum(new_user) AS gained,
       sum(cancel_user) AS lost,
       sum(new_user) - sum(cancel_user) AS net
FROM read_parquet('output/user_summary/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, ref_month
ORDER BY appid, ref_month;
