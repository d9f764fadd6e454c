"""Harvests on a standalone Spark cluster of two workers: killed, copied, kept waiting, and exact.

Each test counts what the emulator was asked, under WeChat's strictest reading of a rate: no account
may make more than ten calls in any second.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.core import calendar
from harvester.core.config.settings import Output
from harvester.core.model import bucket_of
from tests.support.counting_wechat import StrictRules
from tests.support.doc_pages import ROOT
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.run_harness import appid
from tests.support.sandboxes import serve_in_thread
from tests.support.spark_cluster import SETTINGS, Cluster, spark_cluster
from tests.support.store_backends import CREDENTIALS

pytestmark = pytest.mark.slow

BUCKETS = 4
RATE = 10
"""Calls a second and account, of the manifest and of the emulator."""

DAYS = 60
SECRET = "shown-in-no-page-of-spark-0123456789"
TODAY = "2026-05-20"

# The driver of most tests: prints the rows without their times, or the error.
DRIVER = """
import json, sys
from pyspark.sql import SparkSession
import harvester
from harvester.spark import harvest

spark = SparkSession.builder.getOrCreate()
try:
    found = harvest(spark, sys.argv[1], **json.loads(sys.argv[2]))
    rows = found.drop("published", "retry_at").collect()
    print("ROWS", json.dumps([row.asDict() for row in rows]))
except harvester.HarvesterError as error:
    print("ERROR", type(error).__name__, error)
finally:
    spark.stop()
"""


def some_accounts() -> tuple[list[str], list[str]]:
    """Return four accounts of each shard of two."""
    found: tuple[list[str], list[str]] = ([], [])
    for number in range(1, 100):
        mine = found[bucket_of(appid(number), BUCKETS) % 2]
        if len(mine) < 4:
            mine.append(appid(number))
    return found


FIRST, SECOND = some_accounts()


@dataclass
class Lab:
    """A cluster, an emulator whose calls are counted, and a manifest."""

    cluster: Cluster
    wechat: FaultyWeChat
    folder: Path
    output: Output

    @property
    def manifest(self) -> Path:
        """The manifest."""
        return self.folder / "jobs.yaml"

    @property
    def calls(self) -> int:
        """The number of data calls so far."""
        return sum(self.wechat.windows.values())

    def write(self, address: str, begin_of_first: str | None = None) -> None:
        """Write the manifest: sixty windows an account, fewer of the first shard if it is asked."""
        dates = {"begin_date": begin_of_first} if begin_of_first else {}
        output = {"path": str(self.output.path), "buckets": BUCKETS}
        if self.output.endpoint:
            output |= {"endpoint": self.output.endpoint, "lease": "6s"}
        (self.folder / "driver.py").write_text(DRIVER)
        self.manifest.write_text(
            json.dumps(
                {
                    "version": 1,
                    "api": {"base_url": address},
                    "defaults": {"credential": {"secret": "${WECHAT_SECRET}"}},
                    "accounts": [
                        *({"appid": each, **dates} for each in FIRST),
                        *({"appid": each} for each in SECOND),
                    ],
                    "jobs": [
                        {
                            "datasets": ["interface_summary_hour"],
                            "begin_date": "2026-03-01",
                            "end_date": "2026-04-29",
                        }
                    ],
                    "limits": {"per_token": {"rate": f"{RATE}/s"}},
                    "output": output,
                },
                indent=2,
            )
        )

    def submit(self, *conf: str, **arguments: Any) -> subprocess.Popen[str]:
        """Submit a harvest with these arguments."""
        words = (str(self.manifest), json.dumps({"shards": 2, **arguments}))
        return self.cluster.submit(self.folder / "driver.py", *words, conf=conf)

    def assert_exact(self, windows: int = 8 * DAYS, repeated: int = 0) -> None:
        """Every window was asked, none was refused for its rate, and the files are whole."""
        asked = self.wechat.windows
        assert len(asked) == windows
        assert windows <= self.calls <= windows + repeated
        assert self.wechat.counters.errcodes[45011] == 0
        out = harvester.open(self.output.path, endpoint=self.output.endpoint)
        report = out.verify()
        assert report.undamaged, report.damaged
        known = out.coverage("interface_summary_hour").to_pylist()
        days = sum((row["end_date"] - row["begin_date"]).days + 1 for row in known)
        # An old empty day between days with rows is asked once more on a later day.
        assert {row["state"] for row in known if row["has_rows"]} == {"final"}
        assert {row["state"] for row in known} <= {"final", "provisional"}
        assert days == windows


def wait_for(is_so: Callable[[], object]) -> None:
    """Wait until something is so; what never comes is ended by pytest."""
    while not is_so():
        time.sleep(0.05)


def rows_of(driver: subprocess.Popen[str]) -> tuple[list[dict[str, Any]], str]:
    """Return the rows that a driver prints, and its log."""
    printed, log = driver.communicate()
    lines = [line for line in printed.splitlines() if line.startswith("ROWS ")]
    assert lines, printed + log[-4000:]
    return json.loads(lines[-1].removeprefix("ROWS ")), log


@pytest.fixture(scope="module")
def cluster(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all tests of the module."""
    folder = tmp_path_factory.mktemp("spark")
    with spark_cluster(folder, **CREDENTIALS, WECHAT_SECRET=SECRET) as found:
        yield found


@pytest.fixture
def wechat() -> FaultyWeChat:
    """An emulator that refuses the eleventh call of an account in any second."""
    rules = StrictRules(window_limit=(RATE, 1.0))
    start = calendar.instant(calendar.parse_day(TODAY), 12 * 60) - time.time()
    world = FaultyWeChat(rules, lambda: start + time.time())
    world.date_comment = calendar.EMULATED
    return world


@pytest.fixture
def address(wechat: FaultyWeChat) -> Iterator[str]:
    """The address of the emulator."""
    with serve_in_thread(wechat) as found:
        yield found


@pytest.fixture
def lab(cluster: Cluster, wechat: FaultyWeChat, address: str, tmp_path: Path) -> Lab:
    """A lab whose output is on a disk."""
    found = Lab(cluster, wechat, tmp_path, Output(tmp_path / "output"))
    found.write(address)
    return found


def test_the_example_submits_a_harvest(lab: Lab) -> None:
    """One line per shard, and the exit code of a run; each window is asked once."""
    script = str(ROOT / "examples/spark/submit.sh")
    words = [word for setting in SETTINGS for word in ("--conf", setting)]
    driver = lab.cluster.start([script, lab.cluster.master, str(lab.manifest), *words])
    printed, log = driver.communicate()
    assert driver.returncode == 0, log[-4000:]
    assert [line.split("|")[1].strip() for line in printed.splitlines() if "/" in line] == [
        "1/2",
        "2/2",
    ]
    assert printed.count("|complete|") == 2
    lab.assert_exact()


@pytest.mark.parametrize("backend", ["disk", "objects"])
def test_a_killed_executor_costs_its_last_seconds(
    lab: Lab, backend: str, address: str, request: pytest.FixtureRequest
) -> None:
    """Its shard is repeated; what was durable is not asked again. A lease of it is waited out."""
    if backend == "objects":
        lab.output = request.getfixturevalue("s3_output")
        lab.write(address)
    driver = lab.submit()
    wait_for(lambda: lab.calls > 200)
    lab.cluster.executors()[0].kill()
    rows, log = rows_of(driver)
    assert [row["outcome"] for row in rows] == ["complete"] * 2
    assert "ExecutorLostFailure" in log or "Lost executor" in log
    lab.assert_exact(repeated=4 * RATE * 4)


def test_a_killed_driver_costs_the_last_seconds(lab: Lab) -> None:
    """Its executors end with it, and the next harvest goes on."""
    driver = lab.submit()
    wait_for(lambda: lab.calls > 200)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate()
    wait_for(lambda: not lab.cluster.executors())
    # The workers end soon after the executors that started them.
    time.sleep(2)
    before = lab.calls
    time.sleep(2)
    assert before == lab.calls < 8 * DAYS
    rows, _ = rows_of(lab.submit())
    assert sum(row["requests"] for row in rows) == lab.calls - before
    lab.assert_exact(repeated=8 * RATE * 4)


def test_a_task_waits_for_another_run(lab: Lab) -> None:
    """A shard that a run outside of the cluster owns is not asked twice, and fails no other one."""
    command = [sys.executable, "-m", "harvester", "run", str(lab.manifest), "--shard", "1/2"]
    outside = lab.cluster.start([*command, "--progress", "none"])
    wait_for(lambda: lab.calls > 20)
    rows, log = rows_of(lab.submit())
    outside.communicate()
    assert outside.returncode == 0
    assert "Lost task" not in log
    assert [row["outcome"] for row in rows] == ["complete"] * 2
    assert rows[1]["requests"] == 4 * DAYS
    lab.assert_exact()


def test_a_speculative_copy_waits(
    cluster: Cluster,
    wechat: FaultyWeChat,
    address: str,
    tmp_path: Path,
    s3_output: Output,
) -> None:
    """In an object store too: the copy asks nothing while the first attempt is at work."""
    lab = Lab(cluster, wechat, tmp_path, s3_output)
    # The first shard ends soon, so that a slot is free for a copy of the second one.
    lab.write(address, begin_of_first="2026-04-28")
    rows, log = rows_of(
        lab.submit(
            "spark.speculation=true",
            "spark.speculation.interval=100ms",
            "spark.speculation.multiplier=1.1",
            "spark.speculation.quantile=0.5",
            "spark.speculation.minTaskRuntime=100ms",
        )
    )
    assert "as speculatable" in log
    assert [row["outcome"] for row in rows] == ["complete"] * 2
    lab.assert_exact(4 * 2 + 4 * DAYS)


def test_an_error_is_told_once(lab: Lab) -> None:
    """A task with a mistake is not repeated; a secret travels only if it is asked for."""
    logs = lab.folder / "events"
    logs.mkdir()
    lab.cluster.environ["SENT_SECRET"] = f"{SECRET}-sent"
    lab.manifest.write_text(lab.manifest.read_text().replace("WECHAT_SECRET", "SENT_SECRET"))
    try:
        told = ("spark.eventLog.enabled=true", f"spark.eventLog.dir={logs.as_uri()}")
        printed, log = lab.submit(*told).communicate()
        assert "ERROR ManifestError shard 1/2: " in printed, log[-4000:]
        assert "Lost task" not in log
        assert lab.calls == 0
        rows, log = rows_of(lab.submit(*told, forward_env=["SENT_*"]))
    finally:
        del lab.cluster.environ["SENT_SECRET"]
    assert [row["outcome"] for row in rows] == ["complete"] * 2
    files = [file for file in logs.rglob("*") if file.is_file()]
    assert len(files) >= 2
    texts = [file.read_bytes() for file in files]
    assert not any(SECRET.encode() in text for text in texts)
    assert SECRET not in log
    lab.assert_exact()
