"""`harvester.spark.harvest` on a local Spark: rows, errors with their shard, secrets by name."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

import harvester
from harvester.storage import locks
from harvester.storage.layout import open_tree
from harvester.testing import sandbox
from tests.support.claims import claim
from tests.support.doc_pages import API, blocks

pytest.importorskip("pyspark")

from pyspark.errors import PySparkAttributeError

from harvester.spark import harvest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A session and cold workers take their time on a busy machine.
COLUMNS = [
    *("shard", "run_id", "outcome", "exit_code", "reasons"),
    *("retry_at", "requests", "rows", "message", "published"),
]


def with_buckets(manifest: dict[str, Any], buckets: int = 4) -> dict[str, Any]:
    """Return a manifest with so many buckets."""
    return {**manifest, "output": {"path": manifest["output"], "buckets": buckets}}


def test_one_row_a_shard(spark: SparkSession, tmp_path: Path) -> None:
    """The tasks share the work; their rows are there; and nothing asks a second time."""
    with sandbox(accounts=8) as wechat:
        plain = wechat.manifest(["interface_summary"], output=str(tmp_path / "output"))
        manifest = with_buckets(plain)
        windows = harvester.plan(manifest).requests
        found = harvest(spark, manifest, shards=3)
        assert found.columns == COLUMNS
        calls = wechat.server.calls.total()
        rows = found.collect()
        assert [row.shard for row in rows] == ["1/3", "2/3", "3/3"]
        assert {(row.outcome, row.exit_code, *row.reasons) for row in rows} == {("complete", 0)}
        assert calls == windows == sum(row.requests for row in rows)
        assert {row.retry_at for row in rows} == {None}
        out = harvester.open(tmp_path / "output")
        assert out.arrow("interface_summary").count_rows() == sum(row.rows for row in rows)
        published = {(file.dataset, file.path) for row in rows for file in row.published}
        assert published == {
            ("interface_summary", str(file.relative_to(tmp_path / "output")))
            for file in (tmp_path / "output").glob("interface_summary/*/*.parquet")
        }
        assert out.verify().undamaged
        labels = [dict(run["labels"]) for run in out.runs().to_pylist()]
        assert {each["spark_application"] for each in labels} == {spark.sparkContext.applicationId}
        # The frame has rows and no plan that harvests; and a second harvest finds nothing to ask.
        assert found.collect() == rows
        again = harvest(spark, manifest, max_duration=timedelta(minutes=5))
        assert [(row.shard, row.requests) for row in again.collect()] == [("1/2", 0), ("2/2", 0)]
        assert wechat.server.calls.total() == calls
        tree = open_tree(harvester.read_manifest(manifest).output)
        with (
            locks.hold(tree, [0], claim("other")),
            pytest.raises(harvester.Busy, match=r"^shard 1/2: .*run other"),
        ):
            harvest(spark, manifest, lock_timeout="0")


def test_an_error_of_a_task_names_its_shard(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its type on the driver; a variable travels where it is asked for, with one harvest."""
    with sandbox(accounts=8) as wechat:
        plain = wechat.manifest(["interface_summary"], output=str(tmp_path / "output"))
        manifest = with_buckets(plain)
        for account in manifest["accounts"]:
            account["credential"] = {"secret": "${SPARK_TEST_SECRET}"}
        monkeypatch.setenv("SPARK_TEST_SECRET", "sandbox")
        with pytest.raises(
            harvester.UsageError, match=r"^shard 1/2: .*SPARK_TEST_SECRET"
        ) as caught:
            harvest(spark, manifest)
        assert any("shard 2/2: " in note for note in caught.value.__notes__)
        assert wechat.requests == 0
        before = dict(spark.sparkContext.environment)
        [*rows] = harvest(spark, manifest, forward_env=["SPARK_TEST_*"]).collect()
        assert {row.outcome for row in rows} == {"complete"}
        # Any later task of the session would get the secret.
        assert spark.sparkContext.environment == before


def test_an_outcome_that_is_not_accepted_is_raised(spark: SparkSession, tmp_path: Path) -> None:
    """With the result of the shard."""
    with sandbox(accounts=2) as wechat:
        wechat.fail("*", 48001)
        plain = wechat.manifest(["interface_summary"], output=str(tmp_path / "output"))
        manifest = with_buckets(plain, 2)
        with pytest.raises(harvester.PartialFailure, match=r"^shard ./2 is partial: refused") as e:
            harvest(spark, manifest, accept=["complete"])
        assert e.value.result.accounts[0].errcodes == (48001,)


def test_a_connect_session_is_refused(tmp_path: Path) -> None:
    """It has no context whose workers could run a shard."""
    with pytest.raises(harvester.UsageError, match="Spark Connect"):
        harvest(cast("SparkSession", _Connected()), {})


class _Connected:
    """A session as Spark Connect has it."""

    @property
    def sparkContext(self) -> object:  # noqa: N802 - pyspark's name
        """Refuse, as the real one does."""
        raise PySparkAttributeError(
            errorClass="JVM_ATTRIBUTE_NOT_SUPPORTED",
            messageParameters={"attr_name": "sparkContext"},
        )


def test_a_mistake_is_raised_before_any_task(spark: SparkSession, tmp_path: Path) -> None:
    """Of the manifest and of each argument."""
    manifest: dict[str, Any] = {
        "version": 1,
        "api": {"base_url": "sandbox"},
        "accounts": [{"appid": "wx0000000000000001"}],
        "jobs": [{"datasets": ["interface_summary"], "begin_date": "-3d"}],
        "output": {"path": str(tmp_path / "output"), "buckets": 3},
    }
    status = spark.sparkContext.statusTracker()
    before = status.getJobIdsForGroup(None)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"manifest": {**manifest, "jobs": []}}, "jobs"),
        ({"shards": 4}, "4 shards need at least 4 buckets"),
        ({"shards": 0}, "0 shards"),
        ({"accept": ["done"]}, r"accept `\['done'\]` does not fit"),
        ({"accept": "complete"}, "accept `'complete'` does not fit"),
        ({"max_duration": "soon"}, "max_duration"),
        ({"lock_timeout": "soon"}, "lock_timeout"),
        ({"labels": {"token": "x"}}, "is named as a secret"),
        ({"accounts": "wx0000000000000009"}, "unknown account"),
        ({"forward_env": ["NO_SUCH_*"]}, r"no variable NO_SUCH_\* is set"),
    ]
    for arguments, words in wrong:
        with pytest.raises(harvester.UsageError, match=words):
            harvest(spark, **{"manifest": manifest, **arguments})
    assert status.getJobIdsForGroup(None) == before
    # The example of the guide, which asks the built-in emulator.
    [block] = blocks(API, "python spark")
    exec(compile(block.text, block.name, "exec"), {"spark": spark, "manifest": manifest})
