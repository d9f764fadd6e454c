select
    f.ref_date, account_name, f.appid$client,
    $scene, entry.user_count,
    $state
from $biz_summary as f
cross join $explode(f.read_user_source) as s(entry)
where entry.scene_desc is distinct from '全部'
