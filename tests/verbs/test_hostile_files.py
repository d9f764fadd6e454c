"""Planted files end a command with a message at most: no traceback, no gigabytes, no wait."""

from __future__ import annotations

import contextlib
import resource
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest

from harvester.cli import invoke
from harvester.core import calendar
from harvester.core.exit_codes import Exit
from harvester.storage import raw_log
from tests.support.answers import MARCH, answer, appid, of_day
from tests.support.group_files import group_bytes
from tests.support.nights import few_by_day
from tests.support.output_helpers import tree_at
from tests.support.run_harness import BOTH, days_between, expected, published_rows

MANIFEST = """
version: 1
api: {base_url: sandbox}
accounts: [{appid: wx0000000000000001}, {appid: wx0000000000000002}]
jobs:
  - datasets: [interface_summary, interface_summary_hour]
    begin_date: 2026-03-30
    end_date: 2026-04-02
limits: {per_token: {rate: 1000/s, burst: 100, concurrency: 8}}
output: output
"""
ROOM = 1 << 30
"""Bytes of address space that a command may add to those of the tests."""

VERBS = (
    ("status",),
    ("plan",),
    ("verify",),
    ("forget", "--accounts", appid(1), "--before", "2026-03-30", "--dry-run"),
    ("run", "--progress", "none", "--refetch", "all"),
    ("rewrite", "--to", "fresh", "--buckets", "2"),
    ("verify", "--repair"),
    ("forget", "--accounts", appid(1), "--before", "2026-03-30"),
)


PLACES: dict[str, Callable[[], str]] = {
    "record": lambda: "runs/20260101T000000Z-abcdef.json",
    "change": lambda: "changes/0000-of-0001/rounds/000000000001.log.zst",
    "announced": lambda: "changes/0000-of-0001/begun/r.1.entry",
    "segment": lambda: (
        "changes/0000-of-0001/log/000000000001-000000000002.2026-05-20.0123456789.log.zst"
    ),
    "heads": lambda: "runs/2026-01.heads.log.zst",
    "folded records": lambda: "runs/20260101T000000Z-abcdef.log.zst",
    "known files": lambda: "changes/0000-of-0001/known.json",
    "ledger": lambda: "quota/0000-of-0001.json",
    "forced": lambda: f"quota/forced/{appid(1)}.json",
    "quarantine": lambda: f"quarantine/interface_summary/{appid(1)}/2026-03-30.json",
    "accounts": lambda: "platform.json",
}


def numbers(value: str) -> bytes:
    """Return a text that has the members of every kind of file, with this for each number."""
    calls = '{"interface_summary": {"wx0000000000000001": N}}'
    quota = '{"wx0000000000000001": {"interface_summary": [N, N, N, N]}}'
    text = (
        '{"day": "2026-05-20", "run": "r", "period": N, "idle_from": N, "recent_calls": N, '
        f'"in_use": true, "calls": {calls}, "days": {{"2026-05-20": {{"calls": {calls}}}}}, '
        f'"known": {quota}, "count": N, "last": N, '
        '"run_id": "r", "requests": N, "rows": N, "exit_code": N, "reasons": [], "state": "x", '
        '"outcome": "x", "retry_at": "x", "started_at": "x", "ended_at": "x", "rows_after": N, '
        '"asked_at": N, "refetch": N, '
        '"appid": "wx0000000000000001", "dataset": "interface_summary", "reason": "r", '
        '"begin_date": "2026-03-30", "end_date": "2026-03-30", "body": "{}", "authorised": [N]}'
    )
    return text.replace("N", value).encode()


CONTENTS: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"\xff\xfe\x00",
    "broken UTF-8": b'{"run_id": "\xff\xff"}',
    "a list": b"[1, 2]",
    "deep": b'{"version":1,"calls":' + b"[" * 1_000_000,
    "deep in order": b'{"a":' + b"[" * 900 + b"]" * 900 + b"}",
    "a million of a million parts": b'{"calls": [' + b"{}," * 9_000_000 + b"{}]}",
    "texts": numbers('"many"'),
    "negative": numbers("-5"),
    "not a number": numbers("NaN"),
    "infinite": numbers("1e999"),
    "huge": numbers("9" * 4000),
    "beyond 64 bits": numbers(str(1 << 70)),
    "keys twice": b'{"version": 1, "version": "x", "run_id": 1, "run_id": [], "calls": 1}',
    "a version that makes no sense": b'{"version": -1e999, "run_id": "r"}',
    "lists for objects": b'{"calls": [[[]]], "exhausted": {"a": 1}, "days": 7, "appids": {}}',
}


@pytest.fixture(scope="module")
def harvested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest and a harvested output, to be copied."""
    folder = tmp_path_factory.mktemp("harvested")
    (folder / "jobs.yaml").write_text(MANIFEST)
    with contextlib.chdir(folder):
        assert invoke(["run", "--progress", "none"]) == Exit.DONE
    return folder


@pytest.fixture
def here(harvested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a manifest and a harvested output."""
    shutil.copytree(harvested, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def little_memory() -> Iterator[None]:
    """Let the process take little more memory for the block."""
    [size] = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmSize" in line
    ]
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (int(size.split()[1]) * 1024 + ROOM, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run a command in little memory, and return its exit code and all that it said."""
    capsys.readouterr()
    with little_memory():
        code = invoke(words)
    said = "".join(capsys.readouterr())
    assert "Traceback" not in said, said
    assert "MemoryError" not in said
    assert len(said) < 1 << 16
    return code, said


def plant(here: Path, place: str, data: bytes) -> Path:
    """Write a file below ``_harvester``."""
    path = here / "output/_harvester" / PLACES[place]()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("content", CONTENTS)
def test_a_planted_side_file(here: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    """A verb ends with a code of its own, whatever is in a file: places and verbs take turns."""
    turn = [*CONTENTS].index(content)
    for number, verb in enumerate(VERBS[turn % 4 :: 4]):
        plant(here, [*PLACES][(turn + 5 * number) % len(PLACES)], CONTENTS[content])
        holds(capsys, verb)


@pytest.mark.slow
@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("place", PLACES)
def test_a_planted_side_file_before_every_verb(
    here: Path, capsys: pytest.CaptureFixture[str], place: str, content: str
) -> None:
    """The same for all verbs, one after the other."""
    for words in VERBS:
        plant(here, place, CONTENTS[content])
        holds(capsys, words)


def holds(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    """Check that a command ends with a code of its own."""
    code, said = told(capsys, *words)
    assert code in (Exit.DONE, Exit.USAGE, Exit.INCOMPLETE, Exit.AGAIN), said


@pytest.mark.parametrize("place", PLACES)
def test_a_side_file_of_a_terabyte(
    here: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """It takes no space on the disk, and is neither read nor copied as a whole."""
    turn = [*PLACES].index(place)
    neither_read_nor_copied(here, capsys, place, VERBS[turn % len(VERBS)])


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_side_file_of_a_terabyte_before_every_verb(
    here: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """The same for all verbs, and for the run after them."""
    for words in VERBS:
        neither_read_nor_copied(here, capsys, place, words)
    assert told(capsys, "run", "--progress", "none")[0] == Exit.DONE


def neither_read_nor_copied(
    here: Path, capsys: pytest.CaptureFixture[str], place: str, words: tuple[str, ...]
) -> None:
    """Check a command beside a file of a terabyte."""
    with plant(here, place, b"{").open("r+b") as file:
        file.truncate(1 << 40)
    code, said = told(capsys, *words)
    if code == Exit.BUG:
        assert "longer than any file of harvester" in said or "too long" in said


@pytest.mark.parametrize(
    "note", [b"", b"[]", b"\xff", b"[" * 5000, b'{"host": 1}', b"x" * (1 << 20)]
)
def test_a_planted_note_in_a_lock(
    here: Path, capsys: pytest.CaptureFixture[str], note: bytes
) -> None:
    """A lock that no process holds is taken, whatever stands in its file."""
    (here / "output/_harvester/locks/0000-of-0001.lock").write_bytes(note)
    assert told(capsys, "run", "--progress", "none")[0] == Exit.DONE


# Raw groups.


ANSWER = of_day(MARCH)


def group_file(here: Path, index: Any, batches: Iterable[bytes], *, number: int = 0) -> Path:
    """Write a raw group with this index, as a killed run might have left it."""
    path = here / f"output/_harvester/raw/dead/0000-000001-{number:02x}.group"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(group_bytes(index, batches))
    return path


def one_answer(**changes: Any) -> bytes:
    """Return one answer as in a batch, some of its members replaced."""
    own: dict[str, Any] = {
        "appid": appid(1).encode(),
        "begin": MARCH,
        "end": MARCH,
        "asked_at": ANSWER.asked_at,
        "refetch": b"",
        "body": ANSWER.body,
        "missing": 0,
    } | changes
    pieces = [own[name] for name in ("appid", "refetch", "body")]
    numbers = [own[name] for name in ("begin", "end", "asked_at")]
    data = b"".join((raw_log._ROW.pack(*numbers, *map(len, pieces)), *pieces))
    return data[: len(data) - own["missing"]]


def entry_of(plain: bytes, batch: bytes, **changes: Any) -> list[Any]:
    """Return what an index says of a batch."""
    own = {
        "dataset": "interface_summary_hour",
        "months": [calendar.month_of(MARCH)],
        "length": len(batch),
        "size": len(plain),
        "checksum": zlib.crc32(batch),
    } | changes
    return [*own.values()]


def index_of(entries: list[list[Any]], **changes: Any) -> dict[str, Any]:
    """Return the index of these batches, some of its members replaced."""
    return {
        "version": 1,
        "id": "00",
        "run_id": "dead",
        "bucket": 0,
        "buckets": 1,
        "fetched_at": 1,
        "behind": 0,
        "batches": entries,
    } | changes


ROWS: dict[str, dict[str, Any]] = {
    "an appid that is none": {"appid": b"wx"},
    "an appid in another code": {"appid": b"\xff"},
    "no appid": {"appid": b""},
    "a window that ends before it begins": {"end": MARCH - 1},
    "a window of a million days": {"end": MARCH + 1_000_000},
    "a window before WeChat": {"begin": -5, "end": 1},
    "asked before 1970": {"asked_at": -1},
    "asked in a far future": {"asked_at": 1 << 60},
    "an end in the body": {"missing": 2},
    "an end in the head": {"missing": len(ANSWER.body) + len(appid(1)) + 2},
    "a hundred megabytes of zeros": {"body": b"\0" * (100 << 20)},
}
INDEXES: dict[str, Any] = {
    "deep": "[" * 1_000_000,
    "a list": [1],
    "no JSON": "\x00",
    "not a number": '{"version": NaN}',
    "no members": {"version": 1},
    "a bucket in words": {"bucket": "zero"},
    "another bucket": {"bucket": 1, "buckets": 2},
    "a run in numbers": {"run_id": 7},
    "fetched never": {"fetched_at": None},
    "fetched in a far future": {"fetched_at": 1 << 80},
    "no batches": {"batches": []},
    "batches without end": {"batches": [["interface_summary_hour", [24_315], 0, 0, 0]] * 200_000},
}
BATCHES: dict[str, dict[str, Any]] = {
    "months in words": {"months": ["2026-03"]},
    "months of other ages": {"months": [1, 10**9]},
    "a dataset in numbers": {"dataset": 7},
    "a longer batch": {"length": 1 << 40},
    "a batch that ends before it begins": {"length": -1},
    "less than no answers": {"size": -1},
    "other answers": {"size": 10},
    "a petabyte of answers": {"size": 1 << 50},
    "another checksum": {"checksum": 1},
}


def recovered(
    here: Path, capsys: pytest.CaptureFixture[str], duck: Any, *, groups: int = 1
) -> None:
    """Check that each verb holds, that a run sets the groups aside, and that no row is wrong."""
    for words in VERBS[:4]:
        assert told(capsys, *words)[0] in (Exit.DONE, Exit.INCOMPLETE)
    assert told(capsys, "run", "--progress", "none")[0] == Exit.DONE
    assert len(list(here.glob("output/_harvester/quarantine/groups/*.group"))) == groups
    assert not list(here.glob("output/_harvester/raw/*/*"))
    for dataset in BOTH:
        rows = expected(dataset, [appid(1), appid(2)], days_between("2026-03-30", "2026-04-02"))
        assert published_rows(duck, here / "output", dataset) == rows


def group_of(here: Path, what: str, number: int = 0) -> Path:
    """Write a raw group with something impossible in it."""
    plain = one_answer(**ROWS.get(what, {}))
    batch = raw_log._LZ4.compress(plain, asbytes=True)
    index = INDEXES.get(what, {})
    if isinstance(index, dict) and "version" not in index:
        entry = entry_of(plain, batch, **BATCHES.get(what, {}))
        index = index_of([entry], **{"id": f"{number:02x}"} | index)
    return group_file(here, index, [batch], number=number)


def test_raw_groups_with_impossible_answers(
    here: Path, capsys: pytest.CaptureFixture[str], duck: duckdb.DuckDBPyConnection
) -> None:
    """Each is damage, so it goes to quarantine and its days are asked again."""
    for number, what in enumerate(ROWS):
        group_of(here, what, number)
    recovered(here, capsys, duck, groups=len(ROWS))


@pytest.mark.long
def test_raw_groups_with_an_impossible_index(
    here: Path, capsys: pytest.CaptureFixture[str], duck: duckdb.DuckDBPyConnection
) -> None:
    """The same: nothing of them is believed."""
    impossible = INDEXES | BATCHES
    for number, what in enumerate(impossible):
        group_of(here, what, number)
    recovered(here, capsys, duck, groups=len(impossible))


@pytest.mark.parametrize("what", few_by_day(ROWS, ["no appid"]))
def test_a_raw_group_with_impossible_answers(
    here: Path, capsys: pytest.CaptureFixture[str], duck: duckdb.DuckDBPyConnection, what: str
) -> None:
    """One alone too."""
    group_of(here, what)
    recovered(here, capsys, duck)


@pytest.mark.parametrize("what", few_by_day(INDEXES | BATCHES, ["deep"]))
def test_a_raw_group_with_an_impossible_index(
    here: Path, capsys: pytest.CaptureFixture[str], duck: duckdb.DuckDBPyConnection, what: str
) -> None:
    """One alone too."""
    group_of(here, what)
    recovered(here, capsys, duck)


def test_a_raw_group_of_a_terabyte(
    here: Path, capsys: pytest.CaptureFixture[str], duck: duckdb.DuckDBPyConnection
) -> None:
    """Its end says where the rest is, and is looked at first."""
    path = group_of(here, "")
    with path.open("r+b") as file:
        file.truncate(1 << 40)
        file.seek((1 << 40) - raw_log._END.size)
        file.write(raw_log._END.pack((1 << 32) - 1, 0, raw_log._MARK))
    recovered(here, capsys, duck)


def test_a_raw_group_with_an_account_of_another_bucket(tmp_path: Path) -> None:
    """Its rows would stand in two files."""
    tree = tree_at(tmp_path, 2)
    group = raw_log.write_group(tree, 0, "r", [answer(ANSWER.window, [], 0)])
    assert appid(1) == ANSWER.window.appid
    other = raw_log.write_group(tree, 1, "r", [answer(ANSWER.window, [], 0)])
    held = 0
    for each in (group, other):
        opened = raw_log.open_group(each.name, each.path)
        with suppress(raw_log.DamagedGroup):
            held += len(list(opened.answers("interface_summary_hour", calendar.month_of(MARCH))))
    assert held == 1
