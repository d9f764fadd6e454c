"""The datasets of a manifest as assets: `dagster dev -f definitions.py`.

One step harvests the selected ones, because a run asks for whatever is missing. Each asset is
materialised with what the run did to it, and its check says whether every wanted day is there. What
needs a person is an error in the log of the run in which it begins.
"""

import os
from datetime import UTC, datetime

import dagster as dg

import harvester

MANIFEST = os.environ.get("WECHAT_MANIFEST", "/opt/wechat/jobs.yaml")
DATASETS = sorted({name for job in harvester.read_manifest(MANIFEST).jobs for name in job.datasets})


def materialised(result, row):
    """Return what a run did to a dataset, and what the files have of it."""
    files = [file for file in result.published if file.dataset == row.dataset]
    is_whole = row.days.missing == row.days.quarantined == 0
    return dg.MaterializeResult(
        asset_key=row.dataset,
        metadata={
            "run_id": result.run_id,
            "outcome": str(result.outcome),
            "accounts": row.accounts,
            "days_wanted": row.days.wanted,
            "days_missing": row.days.missing,
            "files_replaced": len(files),
            "months_replaced": ", ".join(sorted({file.ref_month for file in files})),
            "new_rows": sum(file.rows_after - file.rows_before for file in files),
        },
        check_results=[
            dg.AssetCheckResult(
                asset_key=row.dataset,
                check_name="every_wanted_day",
                passed=is_whole,
                severity=dg.AssetCheckSeverity.WARN,
            )
        ],
    )


@dg.multi_asset(
    specs=[dg.AssetSpec(name, group_name="wechat", skippable=True) for name in DATASETS],
    check_specs=[dg.AssetCheckSpec("every_wanted_day", asset=name) for name in DATASETS],
    can_subset=True,
    pool="wechat",  # with a limit of 1, so that two runs do not wait for each other
)
def wechat(context: dg.AssetExecutionContext):
    """Fetch what the selected datasets lack."""
    names = sorted(key.to_user_string() for key in context.selected_asset_keys)
    result = harvester.run(MANIFEST, datasets=names, max_duration="50m", lock_timeout="10m")
    for item in result.attention:
        if item.new:
            # Once for each trouble. Here your pager may be called.
            whose = [account.name or account.appid for account in item.accounts[:3]]
            context.log.error("needs a person: %s %s: %s", item.key, whose, item.advice)
    for row in result.datasets:
        yield materialised(result, row)
    if result.outcome == "unfinished":
        # A step that waits for its retry holds its process, so only a short wait is worth it. The
        # next tick obtains what comes later.
        wait = (result.retry_at - datetime.now(UTC)).total_seconds()
        if wait < 600:
            raise dg.RetryRequested(max_retries=3, seconds_to_wait=max(wait, 60))
    else:
        result.raise_for_outcome()


schedule = dg.ScheduleDefinition(
    name="wechat_daily", target="*", cron_schedule="40 2,6 * * *", execution_timezone="UTC"
)
defs = dg.Definitions(assets=[wechat], schedules=[schedule])
