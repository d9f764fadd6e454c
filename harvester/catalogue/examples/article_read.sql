-- Where did the readers of each article come from, on the day that had most of them?
SELECT appid, msgid, ref_date, source.scene_desc AS scene, source.user_count AS readers
FROM (
    SELECT *, unnest(read_user_source) AS source
    FROM read_parquet('output/article_read/ref_month=*/*.parquet', hive_partitioning = true)
    QUALIFY dense_rank() OVER (PARTITION BY appid, msgid ORDER BY read_user DESC, ref_date) = 1
)
WHERE source.scene_desc <> '全部'
ORDER BY appid, msgid, readers DESC;
