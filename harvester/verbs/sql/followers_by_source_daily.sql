select
    f.ref_date, account_name, f.appid$client,
    coalesce(f.user_source_label_$lang, cast(f.user_source as string)), f.new_user, f.cancel_user,
    $state
from $user_summary as f
