"""Quarantine: rejected answers by account and day, and damaged groups and files.

Answers are kept as they came but for known secrets, groups and files unchanged.

The coverage in the data files says which days are in quarantine; the files here are the evidence.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from orjson import Fragment

from harvester.core.calendar import Day, day_text, parse_day
from harvester.core.model import RawAnswer
from harvester.core.text.redaction import masked_bytes
from harvester.storage.backends.base import move
from harvester.storage.layout import QUARANTINE, Partition, Tree, parse_name
from harvester.storage.state import json_file

GROUPS = "groups"
"""The folder of damaged raw groups, beside those of the datasets."""

FILES = "files"
"""The folder of damaged data files."""


@dataclass(frozen=True, slots=True)
class QuarantinedAnswer:
    """A quarantined day of an account, with the reason and the rejected answer."""

    day: Day
    reason: str
    answer: RawAnswer
    run_id: str


def keep(tree: Tree, entry: QuarantinedAnswer) -> str:
    """Write an answer under its day, durably, in the place of an older one; return its name.

    Secrets in it are masked. Raises StoreError.
    """
    window = entry.answer.window
    # Masked only here, because a server may repeat a token in what it refuses.
    entry = replace(entry, answer=entry.answer._replace(body=masked_bytes(entry.answer.body)))
    name = _answer_name(window.dataset, window.appid, entry.day)
    json_file.write(tree.store, name, _to_members(entry))
    return name


def forget(tree: Tree, dataset: str, appid: str, days: Iterable[Day]) -> None:
    """Remove the answers of these days. Raises StoreError."""
    for day in days:
        tree.store.delete(_answer_name(dataset, appid, day))


def quarantined_days(tree: Tree, dataset: str) -> dict[str, list[Day]]:
    """Return the days with a quarantined answer, by appid. Raises StoreError."""
    found: dict[str, list[Day]] = {}
    for file in tree.store.list(f"{QUARANTINE}/{dataset}"):
        appid, _, day = file.name.removeprefix(f"{QUARANTINE}/{dataset}/").partition("/")
        if day.endswith(".json"):
            with suppress(ValueError):
                found.setdefault(appid, []).append(parse_day(day.removesuffix(".json")))
    return found


def entries(tree: Tree, dataset: str) -> Iterator[QuarantinedAnswer]:
    """Yield a dataset's quarantined answers, by account and day. Damaged files are passed over.

    Raises StoreError, and UsageError for a newer version.
    """
    store, found = tree.store, tree.store.list(f"{QUARANTINE}/{dataset}")
    for file, data in zip(found, store.get_many(found), strict=True):
        where = store.display_path(file.name)
        fields = json_file.decoded(data or b"", dict[str, Any], where) or {}
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            if (entry := _from_members(fields)) is not None:
                yield entry


def quarantine_group(tree: Tree, group: str) -> str | None:
    """Move a damaged raw group to the quarantine; return its new name.

    None if another run has removed it. Raises StoreError.
    """
    return move(tree.store, group, f"{QUARANTINE}/{GROUPS}/{'.'.join(group.split('/')[-2:])}")


def quarantine_file(tree: Tree, name: str, run_id: str) -> str | None:
    """Move a damaged data file to the quarantine; return its new name.

    None if it is gone. Raises StoreError.
    """
    stem = name.removesuffix(".parquet").replace("/", ".")
    return move(tree.store, name, f"{QUARANTINE}/{FILES}/{stem}.{run_id}.damaged")


def damaged_files(tree: Tree) -> dict[str, tuple[Partition, int] | None]:
    """Return the damaged groups and files in quarantine, by name. Raises StoreError.

    Of a file its partition, and the number of buckets when it was written, which a rewrite may have
    changed. None of a group, whose name has its bucket without that number.
    """
    groups = tree.store.list(f"{QUARANTINE}/{GROUPS}")
    found: dict[str, tuple[Partition, int] | None] = {
        file.name: None for file in groups if file.name.endswith(".group")
    }
    for file in tree.store.list(f"{QUARANTINE}/{FILES}"):
        parts = file.name.rpartition("/")[2].split(".")
        place = parse_name(tree.store, f"{'/'.join(parts[:3])}.parquet")
        if place is not None and parts[-1] == "damaged":
            found[file.name] = place
    return found


def _answer_name(dataset: str, appid: str, day: Day) -> str:
    return f"{QUARANTINE}/{dataset}/{appid}/{day_text(day)}.json"


def _to_members(entry: QuarantinedAnswer) -> dict[str, Any]:
    answer = entry.answer
    fields: dict[str, Any] = {
        "appid": answer.window.appid,
        "dataset": answer.window.dataset,
        "day": day_text(entry.day),
        "reason": entry.reason,
        "begin_date": day_text(answer.window.begin),
        "end_date": day_text(answer.window.end),
        "asked_at": answer.asked_at,
        # One bit for each day of the window: more than the 64 bits that orjson accepts.
        "refetch": Fragment(str(answer.refetch)),
        "run_id": entry.run_id,
    }
    try:
        fields["body"] = answer.body.decode()
    except UnicodeDecodeError:
        fields["body_base64"] = base64.b64encode(answer.body).decode()
    return fields


def _from_members(plain: dict[str, Any]) -> QuarantinedAnswer | None:
    body = plain.get("body")
    raw = body.encode() if body is not None else base64.b64decode(plain["body_base64"])
    days = map(parse_day, (plain["begin_date"], plain["end_date"]))
    window = (plain["appid"], plain["dataset"], *days)
    answer = (window, plain["asked_at"], plain["refetch"], raw)
    return json_file.value_of(plain, QuarantinedAnswer, day=parse_day(plain["day"]), answer=answer)
