-- Which scenes bring an account its readers, on a median day of each month?
SELECT appid, ref_month, source.scene_desc AS scene, median(source.user_count) AS readers
FROM (
    SELECT appid, ref_month, unnest(read_user_source) AS source
    FROM read_parquet('output/biz_summary/ref_month=*/*.parquet', hive_partitioning = true)
)
WHERE source.scene_desc <> '全部'
GROUP BY appid, ref_month, scene
ORDER BY appid, ref_month, readers DESC;
