"""An output tree that an older commit left in the middle of its work: read, completed, kept up."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from harvester.cli import invoke
from harvester.core.calendar import instant, parse_day
from harvester.sandbox import AskedWindow, FakeWeChat, Rules
from harvester.storage import raw_log
from harvester.storage.footer import BUCKET
from tests.support.cli import CommandResult
from tests.support.output_helpers import tree_at
from tests.support.run_harness import published_rows
from tests.support.sandboxes import serve_in_thread

TREE = Path(__file__).parents[1] / "data" / "tree-0b40bbf"
DATASETS = ("interface_summary", "user_summary", "interface_summary_hour", "article_total_detail")
ACCOUNTS = [f"wx00000000000000{number}" for number in ("01", "03", "05", "06", "25")]
BUSY, *_, QUIET = ACCOUNTS
KILLED = "20260510T070000Z"
"""The moment at which the run began that was killed last."""


class Old:
    """A copy of the tree with its manifests, and command lines at a fixed time over it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.at("2026-05-10", 18)
        self.world = FakeWeChat(Rules(history=True), self.now)

    def at(self, day: str, hour: int) -> None:
        """Set the time in Beijing; it goes on from there."""
        self._shift = instant(parse_day(day), hour * 60) - time.monotonic()

    def now(self) -> float:
        """The time of everything in the test."""
        return time.monotonic() + self._shift

    def __call__(self, *words: str) -> CommandResult:
        self.capsys.readouterr()
        return CommandResult(invoke(words), *self.capsys.readouterr())

    @property
    def output(self) -> Path:
        """The output tree."""
        return self.folder / "output"

    def files(self, pattern: str) -> list[Path]:
        """The files below ``_harvester`` that match."""
        return sorted(self.output.glob(f"_harvester/{pattern}"))

    def asked(self) -> set[AskedWindow]:
        """The windows that the sandbox was asked for."""
        return set(self.world.counters.windows)

    def record(self) -> Any:
        """The run record of the newest run."""
        return json.loads(self.files("runs/*.json")[-1].read_text())

    def edit(self, old: str, new: str) -> None:
        """Change a line of the manifest."""
        path = self.folder / "jobs.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture
def old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Old]:
    """The tree on the day on which the last run over it was killed."""
    folder = tmp_path / "old"
    shutil.copytree(TREE, folder)
    tree = Old(folder, capsys)
    monkeypatch.setattr(time, "time", tree.now)
    monkeypatch.chdir(folder)
    with serve_in_thread(tree.world) as address:
        for name, value in {"WECHAT": address, "SECRET": "s", "TICKET": "t"}.items():
            monkeypatch.setenv(name, value)
        yield tree


def clean_run(old: Old) -> Path:
    """Make a new output by one run over the same days at the same time."""
    assert old("run", "jobs.yaml", "--output", "clean").code == 0
    return old.folder / "clean"


def durable(old: Old) -> set[AskedWindow]:
    """Read the windows that the killed run had written to its raw log."""
    return {
        AskedWindow(*answer.window)
        for group in raw_log.readable_groups(tree_at(old.output, 2), range(2))
        for dataset, month in group.months
        for answer in group.answers(dataset, month)
    }


def overlapping(one: set[AskedWindow], other: set[AskedWindow]) -> set[AskedWindow]:
    """Select the windows of one set that have a day in common with the other."""
    return {
        a
        for a in one
        for b in other
        if (a.appid, a.dataset) == (b.appid, b.dataset) and a.begin <= b.end and b.begin <= a.end
    }


def rows(duck: duckdb.DuckDBPyConnection, root: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Read the rows of every dataset, as WeChat sent them."""
    return {dataset: published_rows(duck, root, dataset) for dataset in DATASETS}


def numbers(answer: Any, *keys: str) -> dict[str, tuple[int, ...]]:
    """Pick these figures of every dataset from a JSON answer."""
    return {each["dataset"]: tuple(each[key] for key in keys) for each in answer["datasets"]}


def test_status_tells_what_is_there(old: Old) -> None:
    """Days by state, gaps, the quarantined day, and runs that ended or were killed."""
    said = old("status", "--format", "json").json
    assert numbers(said, "wanted", "done", "missing", "empty", "provisional", "quarantined") == {
        "interface_summary": (205, 195, 10, 6, 15, 0),
        "user_summary": (205, 199, 6, 23, 15, 1),
        "interface_summary_hour": (40, 30, 10, 2, 1, 0),
        "article_total_detail": (25, 15, 10, 14, 15, 0),
    }
    (day,) = said["quarantined"]
    assert (day["appid"], day["day"]) == ("wx0000000000000003", "2026-04-29")
    assert day["reason"] == "new_user: a text where an integer belongs"
    assert sum(gap["days"] for gap in said["gaps"]) == 10 + 6 + 10 + 10
    ended = [(run["run_id"][:16], run["state"], run["exit_code"]) for run in said["runs"]]
    assert ended == [
        (KILLED, "running", None),
        ("20260510T040000Z", "finished", 0),
        ("20260508T050000Z", "finished", 3),
        ("20260508T040000Z", "running", None),
    ]
    # Their records have no outcome.
    assert [run["outcome"] for run in said["runs"]] == [None, "complete", "partial", None]


def test_plan_counts_what_is_missing_and_what_was_learned(old: Old) -> None:
    """The quotas that a check read are known for every account and dataset."""
    said = old("plan", "--format", "json").json
    assert numbers(said, "requests", "account_days") == {
        "interface_summary": (5, 25),
        "user_summary": (3, 6),
        "interface_summary_hour": (11, 11),
        "article_total_detail": (25, 25),
    }
    assert (said["price"]["read"], said["price"]["assumed"]) == (18, 0)


def test_no_file_is_damaged(old: Old) -> None:
    """Raw groups are checked too; files in quarantine are not."""
    said = old("verify", "--format", "json")
    assert said.code == 0
    assert said.json == {
        "files": 15,
        "rows": 1179,
        "groups": 4,
        "damaged": [],
        "foreign": [],
        "undamaged": True,
    }


def test_the_platforms_accounts_are_known(old: Old) -> None:
    """A plan asks nothing and finds the three that a check heard of."""
    said = old("plan", "platform.yaml", "--format", "json").json
    assert {each["appid"] for each in said["price"]["accounts"]} == {
        BUSY,
        "wx00000000000000a1",
        "wx00000000000000a2",
    }
    assert old.world.counters.requests == 0


def test_a_run_on_the_same_day_asks_for_the_rest(old: Old) -> None:
    """Answers in the raw log are published and not asked for again; leftovers are gone."""
    kept = durable(old)
    assert len(kept) == 30
    entries = [json.loads(path.read_bytes()) for path in old.files(f"runs/{KILLED}*/*.entry")]
    assert len(entries) == 2
    assert old("run").code == 3
    # Five of them were in a file already: the plan of 44 counts the other 25.
    assert len(old.asked()) == old.world.counters.windows.total() == 44 - 25
    assert overlapping(old.asked(), kept) == set()
    record = old.record()
    assert record["reasons"] == ["quarantined"]
    told = [
        {name: item[name] for name in entries[0] if name != "removed"}
        for item in record["published"]
    ]
    assert [entry for entry in entries if entry not in told] == []
    assert [old.files(left) for left in ("tmp/*", "raw/*/*", "runs/*/*.entry")] == [[], [], []]
    status = old("status", "--format", "json").json
    assert numbers(status, "missing") == dict.fromkeys(DATASETS, (0,))


def test_a_run_on_a_later_day_makes_the_rows_of_a_clean_run(
    old: Old, duck: duckdb.DuckDBPyConnection
) -> None:
    """But for the quarantined day, which is asked again on demand; final days are not."""
    kept = durable(old)
    old.at("2026-05-14", 12)
    assert old("run").code == 3
    final = {
        each._replace(end=parse_day("2026-05-06")) for each in kept if each.dataset in DATASETS[:2]
    }
    assert len(final) == 6
    assert overlapping(old.asked(), final) == set()
    assert old("verify").code == 0
    expected = rows(duck, clean_run(old))
    found = rows(duck, old.output)
    spoilt = found.pop("user_summary")
    assert found.items() <= expected.items()
    lost = set(expected["user_summary"]) - set(spoilt)
    assert {(row[0], row[1].isoformat()) for row in lost} == {("wx0000000000000003", "2026-04-29")}
    assert old("run", "--refetch", "quarantined").code == 0
    assert rows(duck, old.output) == expected
    assert old.files("quarantine/user_summary/*/*") == []
    calls = old.world.counters.windows.total()
    assert old("run").code == 0
    assert old.world.counters.windows.total() == calls


def stated_buckets(old: Old, dataset: str) -> dict[str, bytes | None]:
    """Return the bucket in the footer of each of a dataset's files of May, by name."""
    files = (old.output / dataset / "ref_month=2026-05").glob("*.parquet")
    return {path.name: pq.read_metadata(path).metadata.get(BUCKET) for path in files}


def test_files_say_their_bucket_once_they_are_published_again(old: Old) -> None:
    """Until then their accounts say it."""
    one, other = "part-0000-of-0002.parquet", "part-0001-of-0002.parquet"
    before = stated_buckets(old, "interface_summary_hour")
    assert before == {one: None, other: None}
    old.at("2026-05-14", 12)
    assert old("run").code == 3
    after = stated_buckets(old, "interface_summary_hour")
    assert after == {one: b"0000-of-0002", other: b"0001-of-0002"}


@pytest.mark.parametrize("verb", ["run", "status", "verify"])
def test_a_file_in_another_buckets_place_is_found(old: Old, verb: str) -> None:
    """Although it does not say its bucket, its accounts are known to belong elsewhere."""
    month = "interface_summary_hour/ref_month=2026-05"
    one, other = (f"{month}/part-{bucket:04d}-of-0002.parquet" for bucket in range(2))
    shutil.copy(old.output / one, old.output / other)
    ended = old(verb)
    if verb == "verify":
        assert (ended.code, "it knows of accounts of another bucket" in ended.out) == (3, True)
    else:
        assert ended.code == 1
        assert f"output/{other}: its footer says that it belongs to {one}: it was" in ended.err
    assert old.world.counters.windows.total() == 0


def test_a_deleted_month_is_missing(old: Old) -> None:
    """The records of an earlier harvester name what it published."""
    name = "interface_summary/ref_month=2026-04/part-0001-of-0002.parquet"
    (old.output / name).unlink()
    said = old("verify", "--format", "json")
    assert said.code == 3
    assert [(each["path"], each["missing"]) for each in said.json["damaged"]] == [(name, True)]


def test_calls_spent_on_that_day_still_count(old: Old) -> None:
    """Of the 24 that a check read three are reserved, and the killed run had noted ten: 11 left."""
    old.edit("begin_date: 2026-05-05", "begin_date: 2026-04-15")
    said = old("run", "--refetch", "all", "--datasets", "article_total_detail")
    assert (said.code, old.record()["reasons"]) == (75, ["quota"])
    assert Counter(each.appid for each in old.asked()) == dict.fromkeys(ACCOUNTS, 11)


@pytest.mark.parametrize(("day", "note"), [("2026-05-10", 20), ("2026-05-11", 1)])
def test_forced_refreshes_of_that_day_still_count(old: Old, day: str, note: int) -> None:
    """Twenty were spent: none is left until midnight in Beijing."""
    old.at(day, 18)
    old.world.fail(BUSY, 40001, times=2)
    old("run", "--accounts", BUSY)
    (path,) = old.files("quota/forced/*")
    assert json.loads(path.read_text())["count"] == note
    refused = "refused" in old.record()["reasons"]
    assert refused == (note == 20)


def test_compact_makes_a_tree_of_it(old: Old, duck: duckdb.DuckDBPyConnection) -> None:
    """With other buckets, the same rows and nothing more to ask for."""
    assert old("rewrite", "--to", "new", "--buckets", "3").code == 0
    old.edit("{path: output, buckets: 2}", "{path: new, buckets: 3}")
    assert rows(duck, old.folder / "new") == rows(duck, old.output)
    assert old("verify").code == 0
    assert old("plan", "--format", "json").json["requests"] == 19
    assert old("run").code == 3
    assert len(old.asked()) == 19


def test_a_killed_compact_is_finished(old: Old, duck: duckdb.DuckDBPyConnection) -> None:
    """Until then the new tree is refused."""
    journal = old.folder / "fresh" / "_harvester" / "compact.json"
    journal.write_text(journal.read_text().replace("SOURCE", str(old.output)))
    before = (old.folder / "jobs.yaml").read_text()
    old.edit("{path: output, buckets: 2}", "{path: fresh, buckets: 3}")
    refused = old("status")
    assert refused.code == 2
    assert "is not finished" in refused.err
    (old.folder / "jobs.yaml").write_text(before)
    assert old("rewrite", "--to", "fresh", "--buckets", "3").code == 0
    assert rows(duck, old.folder / "fresh") == rows(duck, old.output)
    old.edit("{path: output, buckets: 2}", "{path: fresh, buckets: 3}")
    assert old("verify").code == 0
    assert not list((old.folder / "fresh" / "_harvester" / "tmp").iterdir())


def test_forget_removes_an_account_from_every_file(
    old: Old, duck: duckdb.DuckDBPyConnection
) -> None:
    """Rows, raw answers, damaged files that may name it, notes and records; no row of others."""
    before = rows(duck, old.output)
    recovered = durable(old)
    for job in DATASETS[1:]:
        old.edit(f"{job}], begin", f"{job}], accounts: {{except: [{QUIET}]}}, begin")
    said = old("forget", "--accounts", QUIET, "--format", "json")
    assert said.code == 0
    receipt = said.json
    assert receipt["answers"] == sum(each.appid == QUIET for each in recovered)
    assert [Path(name).parent.name for name in receipt["damaged"]] == ["groups", "files"]
    after = rows(duck, old.output)
    for dataset in DATASETS:
        assert not [row for row in after[dataset] if row[0] == QUIET]
        assert {row for row in map(str, before[dataset]) if QUIET not in row} - set(
            map(str, after[dataset])
        ) == set()
    assert [path for path in old.files("**/*") if path.is_file() and names(path, QUIET)] == []
    assert old("verify").code == 0


def names(path: Path, appid: str) -> bool:
    """Tell if an account stands in a file or its name."""
    return appid in path.name or appid.encode() in path.read_bytes()
