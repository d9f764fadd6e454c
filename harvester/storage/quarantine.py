"""Quarantine: rejected answers by account and day, and damaged groups and files.

Answers are kept as they came but for known secrets, groups and files unchanged.

The coverage in the data files says which days are in quarantine; the files here are the evidence.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date

from harvester.core.calendar import Day, date_of, day_text, parse_day
from harvester.core.model import Partition, RawAnswer
from harvester.core.text.redaction import masked_bytes
from harvester.storage.backends.base import move
from harvester.storage.layout import QUARANTINE, Tree, parse_name
from harvester.storage.state import json_file

GROUPS = "groups"
"""The folder of damaged raw groups, beside those of the datasets."""

FILES = "files"
"""The folder of damaged data files."""

MAX_KEPT = 2 << 20
"""Maximum bytes of an answer that are kept, for all days of its window together.

Masking takes a tenth of a second a MiB, and thirty days have a copy each. WeChat's answers are
shorter.
"""


@dataclass(frozen=True, slots=True)
class QuarantinedAnswer:
    """A quarantined day of an account, with the reason and the rejected answer, as it is kept.

    An answer that is no UTF-8 is in ``body_base64`` and not in ``body``. Of a long one the
    beginning is kept, up to a comma.
    """

    appid: str
    dataset: str
    day: date
    begin_date: date
    end_date: date
    reason: str
    asked_at: int
    run_id: str
    body: str = ""
    body_base64: str = ""


def keep(tree: Tree, day: Day, reason: str, answer: RawAnswer, run_id: str) -> str:
    """Write an answer under its day, durably, in the place of an older one; return its name.

    Secrets in it are masked. Raises StoreError.
    """
    appid, dataset, begin, end = answer.window
    raw, longest = answer.body, MAX_KEPT // (end - begin + 1)
    if len(raw) > longest:
        # At a comma, so that no secret and no character is cut.
        raw = raw[: raw.rfind(b",", 0, longest) + 1]
    # Masked only here, because a server may repeat a token in what it refuses.
    raw = masked_bytes(raw)
    try:
        body = raw.decode(), ""
    except UnicodeDecodeError:
        body = "", base64.b64encode(raw).decode()
    days = date_of(day), date_of(begin), date_of(end)
    kept = QuarantinedAnswer(appid, dataset, *days, reason, answer.asked_at, run_id, *body)
    name = _answer_name(dataset, appid, day)
    # The other body is left out, so that a reader finds one.
    members = {member: value for member, value in asdict(kept).items() if value != ""}
    json_file.write(tree.store, name, members)
    return name


def forget(tree: Tree, dataset: str, appid: str, days: Iterable[Day]) -> None:
    """Remove the answers of these days. Raises StoreError."""
    for day in days:
        tree.store.delete(_answer_name(dataset, appid, day))


def quarantined_days(tree: Tree, dataset: str) -> dict[str, list[Day]]:
    """Return the days with a quarantined answer, by appid. Raises StoreError."""
    found: dict[str, list[Day]] = {}
    for file in tree.files(f"{QUARANTINE}/{dataset}"):
        appid, _, day = file.name.removeprefix(f"{QUARANTINE}/{dataset}/").partition("/")
        if day.endswith(".json"):
            with suppress(ValueError):
                found.setdefault(appid, []).append(parse_day(day.removesuffix(".json")))
    return found


def entries(tree: Tree, dataset: str) -> Iterator[QuarantinedAnswer]:
    """Yield a dataset's quarantined answers, by account and day. Damaged files are passed over.

    Raises StoreError, and UsageError for a newer version.
    """
    store, found = tree.store, tree.files(f"{QUARANTINE}/{dataset}")
    for file, data in zip(found, store.get_many(found), strict=True):
        entry = json_file.decoded(data or b"", QuarantinedAnswer, store.display_path(file.name))
        if entry is not None:
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
    groups = tree.files(f"{QUARANTINE}/{GROUPS}")
    found: dict[str, tuple[Partition, int] | None] = {
        file.name: None for file in groups if file.name.endswith(".group")
    }
    for file in tree.files(f"{QUARANTINE}/{FILES}"):
        parts = file.name.rpartition("/")[2].split(".")
        place = parse_name(tree.store, f"{'/'.join(parts[:3])}.parquet")
        if place is not None and parts[-1] == "damaged":
            found[file.name] = place
    return found


def _answer_name(dataset: str, appid: str, day: Day) -> str:
    return f"{QUARANTINE}/{dataset}/{appid}/{day_text(day)}.json"
