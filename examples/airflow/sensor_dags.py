"""A daily harvest and a backfill for Airflow 2.10 to 3.2.

These releases cannot retry a plain task at a chosen moment: 2.x ignores the date of its reschedule.
A sensor in the mode `reschedule` is asked again at the moment that a run names, holds no slot
meanwhile, and spends no retry. harvester runs in a virtual environment of its own, because Airflow
2 needs an older `rich`. What needs a person is an error in the log of the task in which it begins.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
)

try:
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task

HARVESTER = os.environ.get("WECHAT_HARVESTER", "/opt/wechat/.venv/bin/harvester")
MANIFEST = os.environ.get("WECHAT_MANIFEST", "/opt/wechat/jobs.yaml")
SHARDS = ["1/2", "2/2"]

log = logging.getLogger(__name__)


def harvest(max_duration: str, *options: str) -> dict:
    """Run harvester, and return the record of the run."""
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder, "summary.json")
        command = [HARVESTER, "run", MANIFEST, "--max-duration", max_duration, *options]
        code = subprocess.run([*command, "--summary", str(summary)], check=False).returncode
        if not summary.exists():
            raise AirflowFailException(f"harvester ended with {code}")
        record = json.loads(summary.read_text())
    # An alert for each new trouble, and none for what is known. Here your pager may be called.
    for item in record["attention"]:
        if item["new"]:
            log.error("needs a person: %s: %s", item["key"], item["advice"])
    return record


@dag(
    schedule="40 2,6 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    tags=["wechat"],
)
def wechat_daily_by_sensor():
    """Fetch the last days, twice a day, and end at once: what is not ready yet comes next time."""

    @task(retries=2, retry_delay=timedelta(minutes=5))
    def shard(name):
        # It waits for longer than a task of the backfill holds the accounts. The wait is a part of
        # the time budget, so that is longer still.
        record = harvest("2h", "--begin-date=-3d", "--shard", name, "--lock-timeout", "1h")
        if record["outcome"] not in {"complete", "unfinished"}:
            raise AirflowFailException(f"{record['outcome']}: {record['reasons']}")

    @task(trigger_rule="all_done")
    def gate():
        """Let those who read the files begin when the last days are there."""
        command = [HARVESTER, "status", MANIFEST, "--begin-date=-3d", "--require", "yesterday"]
        code = subprocess.run(command, check=False).returncode
        if code in (75, 76):
            raise AirflowSkipException("a run can obtain more")
        if code:
            raise AirflowFailException(f"the gate is closed: {code}")

    shard.expand(name=SHARDS) >> gate()


@dag(
    schedule="10 16 * * *",  # 00:10 in Beijing, when the quotas of a day are new
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    tags=["wechat"],
)
def wechat_backfill_by_sensor():
    """Fetch everything, and wait for quota: a reschedule for each day that it takes."""

    @task.sensor(mode="reschedule", timeout=timedelta(days=365).total_seconds())
    def shard(name):
        record = harvest("50m", "--shard", name)
        if record["retry_at"]:
            at = datetime.fromisoformat(record["retry_at"].replace("Z", "+00:00"))
            soon = datetime.now(timezone.utc) + timedelta(minutes=1)
            raise AirflowRescheduleException(max(at, soon))
        if record["outcome"] != "complete":
            raise AirflowFailException(f"{record['outcome']}: {record['reasons']}")
        return True

    shard.expand(name=SHARDS)


wechat_daily_by_sensor()
wechat_backfill_by_sensor()
