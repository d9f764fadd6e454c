select
    f.ref_date, account_name, f.appid$client,
    f.send_page_count, f.read_user, f.share_user, f.zaikan_user, f.like_user,
    f.comment_count, f.collection_user, f.redirect_ori_page_user,
    $state
from $biz_summary as f
