from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from harvester.core.calendar import date_of, parse_month
from harvester.core.model import Partition, RawAnswer, Window
from harvester.core.secret import Secret
from harvester.storage import quarantine
from harvester.storage.backends.base import read_bytes
from harvester.storage.layout import Tree
from harvester.storage.quarantine import QuarantinedAnswer
from tests.support.answers import DAILY, MARCH, appid


def keep(
    tree: Tree, day: int, account: int = 1, raw: bytes = b'{"list":[1]}', reason: str = "why"
) -> str:
    """Put a day of the month, counted from 0, into quarantine; return the name of the file."""
    window = Window(appid(account), DAILY.name, MARCH, MARCH + 29)
    answer = RawAnswer(window, 1_700_000_000, 0, raw)
    return quarantine.keep(tree, MARCH + day, reason, answer, "run-1")


def body_of(kept: QuarantinedAnswer) -> bytes:
    """The answer as it came."""
    return kept.body.encode() or base64.b64decode(kept.body_base64)


@pytest.mark.parametrize("raw", [b"", b"\xff\x00", '{"list":["\u8d26"]}'.encode(), b"x" * 60_000])
def test_an_answer_is_kept_as_it_came(tree: Tree, raw: bytes) -> None:
    """The raw bytes of an answer, whatever they are, come back as they were, with the reason."""
    name = keep(tree, 0, raw=raw)
    assert name == "_harvester/quarantine/interface_summary/wx0000000000000001/2024-03-01.json"
    [kept] = quarantine.entries(tree, DAILY.name)
    assert (kept.appid, kept.dataset) == (appid(1), DAILY.name)
    assert (kept.day, kept.reason, kept.run_id) == (date_of(MARCH), "why", "run-1")
    assert (kept.begin_date, kept.end_date) == (date_of(MARCH), date_of(MARCH + 29))
    assert (kept.asked_at, body_of(kept)) == (1_700_000_000, raw)


@pytest.mark.parametrize("broken", [b"", b"\xff"])
def test_an_echoed_secret_is_not_kept(tree: Tree, broken: bytes) -> None:
    """Of a rejected answer all is kept but for the secrets that it repeats, in pieces too."""
    token = "97_the-token-of-an-account+/="
    Secret(token)
    echo = json.dumps({"list": [{"token": token, "part": token[5:25], "url": quote(token)}]})
    keep(tree, 0, raw=echo.encode() + broken)
    [kept] = quarantine.entries(tree, DAILY.name)
    masked = b'{"list": [{"token": "***", "part": "***", "url": "***"}]}'
    assert body_of(kept) == masked + broken


def test_of_a_long_answer_the_beginning_is_kept(tree: Tree) -> None:
    """A server that sends a million elements fills no disk, as each of thirty days has the answer.

    Nothing is cut within a text, which may be a secret.
    """
    token = "97_the-token-of-an-account+/="
    Secret(token)
    begin = b'{"list":["' + b"x" * (quarantine.MAX_KEPT // 30 - 30) + b'",'
    keep(tree, 0, raw=begin + f'"{token}"'.encode() + b',"y"' * 1_000 + b"]}")
    [kept] = quarantine.entries(tree, DAILY.name)
    assert body_of(kept) == begin


def test_a_quarantined_answer_is_readable_json(tree: Tree) -> None:
    """The file has the account, the days, the reason and the body as readable JSON."""
    fields = json.loads(read_bytes(tree.store, keep(tree, 2)) or "")
    assert fields["day"] == "2024-03-03"
    assert (fields["begin_date"], fields["end_date"]) == ("2024-03-01", "2024-03-30")
    assert (fields["reason"], fields["body"]) == ("why", '{"list":[1]}')


def test_the_newest_reason_counts(tree: Tree) -> None:
    """A day is in quarantine for one reason, the last."""
    keep(tree, 0)
    keep(tree, 0, reason="better")
    assert [kept.reason for kept in quarantine.entries(tree, DAILY.name)] == ["better"]


def test_forgetting(tree: Tree) -> None:
    """Forgotten days are gone, the others stay, and so does no empty folder."""
    for day in range(3):
        keep(tree, day)
    keep(tree, 0, account=2)
    quarantine.forget(tree, DAILY.name, appid(1), [MARCH, MARCH + 1, MARCH + 20])
    assert quarantine.quarantined_days(tree, DAILY.name) == {
        appid(1): [MARCH + 2],
        appid(2): [MARCH],
    }
    quarantine.forget(tree, DAILY.name, appid(2), [MARCH])
    assert not tree.store.list(f"_harvester/quarantine/{DAILY.name}/{appid(2)}")
    assert quarantine.quarantined_days(tree, "other") == {}


def test_what_cannot_be_read_is_passed_over(tree: Tree) -> None:
    """Damaged and foreign files in the quarantine do not keep the rest from being read."""
    folder = keep(tree, 0).rpartition("/")[0]
    for name, data in {"2024-03-02": b"{", "2024-03-03": b'{"day": 5}', "notes": b"{}"}.items():
        tree.store.put(f"{folder}/{name}.json", data)
    assert [kept.day for kept in quarantine.entries(tree, DAILY.name)] == [date_of(MARCH)]


def test_moving_a_damaged_group_to_the_quarantine(tree: Tree) -> None:
    """A raw group keeps its run and its name, and leaves the raw log."""
    group = "_harvester/raw/run-1/0000-000001.group"
    tree.store.put(group, b"x")
    moved = quarantine.quarantine_group(tree, group)
    assert moved == "_harvester/quarantine/groups/run-1.0000-000001.group"
    assert read_bytes(tree.store, moved) == b"x"
    assert read_bytes(tree.store, group) is None
    assert quarantine.quarantine_group(tree, group) is None


def test_the_name_of_a_damaged_file_has_its_partition(tree: Tree) -> None:
    """A data file's name has the number of buckets of its time; a group's name has none.

    Other files are passed over.
    """
    name = "interface_summary/ref_month=2024-03/part-0003-of-0016.parquet"
    group = "_harvester/raw/run-1/0003-000001.group"
    for each in (name, group, "_harvester/quarantine/files/notes"):
        tree.store.put(each, b"x")
    file = quarantine.quarantine_file(tree, name, "run-1")
    moved = quarantine.quarantine_group(tree, group)
    assert quarantine.damaged_files(tree) == {
        moved: None,
        file: (Partition(DAILY.name, parse_month("2024-03"), 3), 16),
    }
