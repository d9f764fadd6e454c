"""A daily harvest and a backfill for Airflow 3.3 and newer.

A task that is not finished is retried at the moment from which a run can obtain more: five minutes
after midnight in Beijing if the quota of the day is spent. What needs a person is an error in the
log of the task in which it begins, and of no later one.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import RetryDecision, RetryPolicy, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

import harvester

MANIFEST = os.environ.get("WECHAT_MANIFEST", "/opt/wechat/jobs.yaml")
SHARDS = ["1/2", "2/2"]

log = logging.getLogger(__name__)


def alerted(result):
    """Alert once for each new trouble, and return the result. Here your pager may be called."""
    for item in result.attention:
        if item.new:
            whose = [account.name or account.appid for account in item.accounts[:3]]
            log.error("needs a person: %s %s: %s", item.key, whose, item.advice)
    return result


class WhenObtainable(RetryPolicy):
    """Retry when there is something to obtain, and fail where nothing comes by itself."""

    def evaluate(self, exception, try_number, max_tries, context=None):
        if (retry_at := getattr(exception, "retry_at", None)) is not None:
            wait = max(retry_at - datetime.now(UTC), timedelta(minutes=1))
            return RetryDecision.retry(wait, str(exception))
        lasting = isinstance(exception, (harvester.RunFailed, harvester.UsageError))
        return RetryDecision.fail(str(exception)) if lasting else RetryDecision.default()


@dag(
    schedule="40 2,6 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["wechat"],
)
def wechat_daily():
    """Fetch the last days, twice a day, and end at once: what is not ready yet comes next time."""

    @task(retries=2, retry_delay=timedelta(minutes=5))
    def harvest(shard):
        # It waits for longer than a task of the backfill holds the accounts. The wait is a part of
        # the time budget, so that is longer still.
        given = {"begin_date": "-3d", "max_duration": "2h", "lock_timeout": "1h"}
        result = alerted(harvester.run(MANIFEST, shard=shard, **given))
        if result.outcome != "unfinished":
            result.raise_for_outcome()
        return result.outcome

    @task(trigger_rule="all_done")
    def gate():
        """Let those who read the files begin when the last days are there."""
        found = harvester.status(MANIFEST, begin_date="-3d", require="yesterday").gate
        if found.exit_code in (75, 76):
            raise AirflowSkipException(f"a run can obtain more from {found.retry_at} on")
        if found.exit_code:
            raise AirflowFailException(f"days that come by no run: {found.lost}")

    harvest.expand(shard=SHARDS) >> gate()


@dag(
    schedule="10 16 * * *",  # 00:10 in Beijing, when the quotas of a day are new
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["wechat"],
)
def wechat_backfill():
    """Fetch everything, and wait for quota: a retry for each day that it takes."""

    @task(retries=365, retry_delay=timedelta(minutes=10), retry_policy=WhenObtainable())
    def harvest(shard):
        alerted(harvester.run(MANIFEST, shard=shard, max_duration="50m")).raise_for_outcome()

    harvest.expand(shard=SHARDS)


wechat_daily()
wechat_backfill()
