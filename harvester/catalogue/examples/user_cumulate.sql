-- How many followers had each account at the end of each month, and how many more than before?
SELECT appid, ref_month,
       arg_max(cumulate_user, ref_date) AS followers,
       followers - lag(followers) OVER (PARTITION BY appid ORDER BY ref_month) AS growth
FROM read_parquet('output/user_cumulate/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, ref_month
ORDER BY appid, ref_month;
