-- Where do the readers of articles come from?
SELECT appid, source.scene_desc AS scene, sum(source.user_count) AS readers
FROM (
    SELECT appid, unnest(read_user_source) AS source
    FROM read_parquet('output/article_read/ref_month=*/*.parquet', hive_partitioning = true)
)
WHERE source.scene_desc <> '全部'
GROUP BY appid, scene
ORDER BY appid, readers DESC;
