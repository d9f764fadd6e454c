"""A data file in the place of another bucket's is refused, and every file says its own bucket."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harvester.core.exit_codes import Exit
from harvester.core.model import bucket_of
from harvester.sandbox import Rules
from harvester.storage.footer import BUCKET
from tests.storage.test_newer_formats import rewritten
from tests.support.cli import CommandLine, JobScope, command_line
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.run_harness import DAILY, appid, files_of

MONTH = f"{DAILY}/ref_month=2026-03"
FIRST, SECOND = (f"{MONTH}/part-{bucket:04d}-of-0002.parquet" for bucket in range(2))
VERBS = (("run",), ("status",), ("plan",), ("status", "--require", "yesterday"))


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[CommandLine]:
    """A harvested output of six accounts in two buckets."""
    monkeypatch.setenv("COMMANDS_SECRET", "s")
    scope = JobScope([DAILY], "2026-03-01", "2026-04-02", accounts=6)
    assert {bucket_of(appid(number), 2) for number in range(1, 7)} == {0, 1}
    world = FaultyWeChat(Rules(), time.time)
    with command_line(tmp_path, scope, world, capsys) as cli:
        text = cli.manifest.read_text()
        cli.manifest.write_text(text.replace("output: out", "output: {path: out, buckets: 2}"))
        assert cli("run").code == Exit.DONE
        yield cli


def bucket_in(path: Path) -> bytes | None:
    """Return the bucket in a footer."""
    found: bytes | None = pq.read_metadata(path).metadata.get(BUCKET)
    return found


def refused(here: CommandLine, *said: str) -> None:
    """Check that every verb refuses the output, names these words, and asks nothing."""
    calls = here.calls()
    for verb in VERBS:
        ended = here(*verb)
        assert ended.code == Exit.BUG
        text = " ".join(ended.err.split())
        assert [words for words in (*said, "move it away") if words not in text] == []
    assert here.calls() == calls


def test_every_file_says_its_bucket(here: CommandLine) -> None:
    """As in its name, with the number of buckets; docs/reading.md describes the key."""
    paths = list(files_of(here.output))
    assert len(paths) == 4
    for path in paths:
        assert path.name == f"part-{(bucket_in(path) or b'').decode()}.parquet"


def test_a_file_restored_under_another_buckets_name(here: CommandLine) -> None:
    """Its rows would be there twice; the message names the file, its bucket, and what to do."""
    shutil.copy(here.output / FIRST, here.output / SECOND)
    refused(here, str(here.output / SECOND), f"belongs to {FIRST}", "copied or renamed")


def test_a_verification_names_it_and_a_repair_moves_it(here: CommandLine) -> None:
    """Then the next run asks for the days of the bucket again."""
    shutil.copy(here.output / FIRST, here.output / SECOND)
    found = here("verify", "--repair", "--format", "json")
    assert found.code == Exit.INCOMPLETE
    [damage] = found.json["damaged"]
    assert damage["path"] == SECOND
    assert {
        f"its footer says that it belongs to {FIRST}",
        "it knows of accounts of another bucket",
        "rows of accounts of another bucket",
    } == set(damage["flaws"])
    assert here("run").code == Exit.DONE
    assert here("verify").code == Exit.DONE


def test_a_file_of_another_number_of_buckets(here: CommandLine) -> None:
    """A name that counts the right number of buckets does not make it one of them."""
    assert here("rewrite", "--to", str(here.manifest.parent / "new"), "--buckets", "4").code == 0
    other = here.manifest.parent / "new" / MONTH
    path = next(path for path in sorted(other.iterdir()) if path.name.startswith("part-0000"))
    shutil.copy(path, here.output / FIRST)
    refused(here, str(here.output / FIRST), f"belongs to {MONTH}/part-0000-of-0004.parquet")


@pytest.mark.parametrize("key", ["dataset", "bucket", "groups", "rows_digest", "seal"])
def test_a_file_without_a_key_is_not_ours(here: CommandLine, key: str) -> None:
    """Another program has rewritten it: what it says of itself cannot be trusted."""
    rewritten(here.output / FIRST, **{key: None})
    refused(here, str(here.output / FIRST), "not written by harvester, or its keys were removed")
    assert here("verify").code == Exit.INCOMPLETE
