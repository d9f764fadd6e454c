-- On which day was each article shared most?
SELECT appid, msgid,
       arg_max(ref_date, share_user) AS best_day,
       max(share_user) AS people
FROM read_parquet('output/article_share/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, msgid
ORDER BY people DESC
LIMIT 20;
