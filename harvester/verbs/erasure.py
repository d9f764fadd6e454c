"""Erasure request, and rows, JSON records and side files without what it names."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import FIRST_DAY, Day, DaySet, Month, day_text, newest, oldest
from harvester.core.dataset import DATE_COLUMN, Grain
from harvester.core.errors import DamagedOutput, StoreError, UsageError
from harvester.core.model import APPID, bucket_of
from harvester.core.text.wording import and_more
from harvester.planning.wanted_days import Wanted
from harvester.storage.backends.base import META_DIR, FileInfo, read_bytes
from harvester.storage.derived import derived_files
from harvester.storage.layout import ACCOUNTS, COVERAGE, QUARANTINE, RAW, RUN_ROWS, Tree
from harvester.storage.state import json_file, manifests
from harvester.storage.state.packed_lines import LINES, pack, unpack
from harvester.tables import derived, row_groups
from harvester.tables.columns import Slice

SIDE_FILES = (".json", ".entry", LINES)
"""Endings of JSON side files: records, changes, quota ledgers, the list of accounts."""

MAX_BYTES = 256 << 20
"""Longest JSON side file: the record of a run that replaced every file of a large output."""

_PERIODS = [x.name for x in CATALOGUE.values() if x.grain in (Grain.WEEK, Grain.MONTH)]
_REMOVED = object()


class ErasureRequest(NamedTuple):
    """Accounts and datasets to erase, and the first Beijing day that stays; None if no day stays.

    ``everything`` is True if the datasets are all that exist: then names are erased as well.
    ``names`` are those that only the accounts have.
    """

    appids: frozenset[str]
    datasets: frozenset[str]
    before: Day | None = None
    everything: bool = False
    names: frozenset[str] = frozenset()

    def buckets(self, buckets: int) -> set[int]:
        """Return the buckets of the accounts."""
        return {bucket_of(appid, buckets) for appid in self.appids}

    @property
    def days(self) -> DaySet:
        """The days to erase."""
        # All bits of a negative number are set: without a limit every day counts.
        return -1 if self.before is None else calendar.day_range(FIRST_DAY, self.before - 1)

    def mask(self, month: Month) -> int:
        """Return the mask of the days of a month to erase."""
        return calendar.month_mask(self.days, month)

    def has(self, dataset: str | None, last: Day | None) -> bool:
        """Return whether a record about a dataset that ends on the day ``last`` is to be erased.

        None stands for a record about no particular dataset, or no particular day.
        """
        # A record that no dataset owns may be about one that stays, unless all of them go.
        inside = self.everything if dataset is None else dataset in self.datasets
        return inside and (self.before is None or (last is not None and last < self.before))


def refuse_wanted(target: ErasureRequest, want: Wanted) -> None:
    """Raise UsageError if the manifest wants days to erase: a run would fetch them again."""
    still = [
        f"{appid} {name} {day_text(oldest(days))}..{day_text(newest(days))}"
        for name in sorted(target.datasets & want.keys())
        for appid, wanted in sorted(want[name].items())
        if appid in target.appids and (days := wanted & target.days)
    ]
    if still:
        begin = "" if target.before is None else f", or let them begin on {day_text(target.before)}"
        raise UsageError(
            ("the manifest still wants what is to be forgotten:", and_more(still[:3], len(still))),
            f"take the accounts off the jobs{begin}; the next run would fetch all of it again",
        )


def remaining_rows(batches: Iterable[pa.RecordBatch], target: ErasureRequest) -> Iterator[Slice]:
    """Yield the rows that stay, in order of appid and day."""
    for appid, rows in row_groups.account_slices(batches):
        gone = 0
        if appid in target.appids:
            gone = rows.length
            if target.before is not None:
                dates = rows.batch.column(DATE_COLUMN).slice(rows.offset, rows.length)
                # The rows of an account are in the order of days.
                gone = bisect_left(dates.cast(pa.int32()).to_pylist(), target.before)
        if gone < rows.length:
            yield Slice(rows.batch, rows.offset + gone, rows.length - gone)


class _About(NamedTuple):
    """The dataset and the last day that an object of a record is about, and a member of it."""

    dataset: str | None = None
    last: Day | None = None
    member: str = ""


_NOTHING = _About()


def erase_from_json(value: Any, target: ErasureRequest, about: _About = _NOTHING) -> Any:
    """Return a JSON value without what is to be erased. ``about`` is what is around it."""
    if isinstance(value, dict):
        # Labels and selections are the user's own words: `dataset` and `day` mean nothing there.
        if about.member not in ("labels", "selection"):
            # What an object names holds for the objects inside of it, until one names another.
            about = _About(value.get("dataset", about.dataset), _last_day(value, about.last))
            if target.has(about.dataset, about.last) and str(value.get("appid")) in target.appids:
                return _REMOVED
        members = (
            (name, erase_from_json(each, target, about._replace(member=name)))
            for name, each in value.items()
            if _erase_text(name, target, about) == name
        )
        return {name: each for name, each in members if each is not _REMOVED}
    if isinstance(value, list):
        left = (erase_from_json(each, target, about) for each in value)
        return [each for each in left if each is not _REMOVED]
    return _erase_text(value, target, about) if isinstance(value, str) else value


def _erase_text(text: str, target: ErasureRequest, about: _About) -> Any:
    named = target.appids.intersection(re.findall(APPID, text))
    # A note begins with its dataset.
    first = text.partition(":")[0]
    if not target.has(first if first in target.datasets else about.dataset, about.last):
        return text
    # Only words for accounts may be names of accounts.
    if text in named or (about.member == "accounts" and text in target.names):
        # Nothing is left of it that a mark would stand for.
        return _REMOVED
    for appid in named:
        text = text.replace(appid, "(forgotten)")
    return text


def _last_day(value: Mapping[str, Any], last: Day | None) -> Day | None:
    """Return the last day of an object of a record, or ``last`` if it names none."""
    with suppress(TypeError, ValueError):
        if "ref_month" in value:
            return calendar.month_end(calendar.parse_month(value["ref_month"]))
        for name in ("end_date", "day"):
            if name in value:
                return calendar.parse_day(value[name])
    return last


def erase_names(tree: Tree, request: ErasureRequest, *, dry: bool) -> Iterator[str]:
    """Remove the accounts from the side files; yield the names of those that had any.

    Files that are named after an account are deleted. With ``dry`` nothing is changed. Raises
    StoreError, and UsageError for a newer version.
    """
    request = request._replace(names=_names_alone(tree, request.appids))
    for name, old in side_files(tree, request):
        if old is None:
            if request.has(None, None):
                if not dry:
                    tree.store.delete(name)
                yield name
        elif (new := erase_from_json(old, request)) != old:
            if not dry:
                tree.store.put(name, _text(name, new))
            yield name


def _names_alone(tree: Tree, appids: frozenset[str]) -> frozenset[str]:
    """Return the names of accounts that no other account has, by all that the output knows."""
    known = [account for _, kept in manifests.read(tree) if kept for account in kept.accounts]
    # A killed command may have erased the manifests already; the table is the last to be.
    with suppress(DamagedOutput):
        known += derived_files.read_all(tree, ACCOUNTS).to_pylist()
    named = {(str(each.get("appid")) in appids, str(each.get("name"))) for each in known}
    return frozenset(name for is_theirs, name in named if is_theirs and (False, name) not in named)


def side_files(tree: Tree, request: ErasureRequest) -> Iterator[tuple[str, Any]]:
    """Yield the names and contents of JSON side files; without contents those named after one.

    Raises UsageError for a newer version: it may hold accounts where none is looked for.
    """
    store = tree.store
    for found in store.list(META_DIR):
        if found.name.startswith((RAW, QUARANTINE)) or not found.name.endswith(SIDE_FILES):
            continue
        if any(appid in found.name for appid in request.appids):
            # All of it is about that account, so it is not read either.
            yield found.name, None
            continue
        # Passed over it would keep the names that the receipt says are gone.
        refuse_long(tree, [found], MAX_BYTES - 1, "move it away: it may name the accounts")
        data = read_bytes(store, found.name, MAX_BYTES)
        if data is None:
            # Another run has removed it since the listing.
            continue
        try:
            yield found.name, _parsed(store.display_path(found.name), found.name, data)
        except ValueError:
            # Damaged contents cannot be edited, and compressed ones do not show what they name.
            is_packed = found.name.endswith(LINES)
            if is_packed or any(appid.encode() in data for appid in request.appids):
                yield found.name, None


def refuse_long(tree: Tree, found: Iterable[FileInfo], most: int, advice: str) -> None:
    """Raise StoreError for a file that is longer than any of ours."""
    longest = max(found, key=lambda file: file.size, default=None)
    if longest is not None and longest.size > most:
        where = tree.store.display_path(longest.name)
        raise StoreError(f"{where}: longer than any file of harvester", advice)


def _parsed(where: str, name: str, data: bytes) -> list[Any]:
    """Parse the lines of a side file. Raises ValueError, and UsageError for a newer version."""
    lines = unpack(data) if name.endswith(LINES) else [data]
    parts = [json_file.parse(line) for line in lines]
    for part in parts:
        json_file.value_of(part, dict[str, Any], where)
    return parts


def _text(name: str, parts: list[Any]) -> bytes:
    if not name.endswith(LINES):
        return json.dumps(parts[0], indent=2).encode()
    return pack(f"{json.dumps(part)}\n".encode() for part in parts)


def erase_rows(tree: Tree, request: ErasureRequest, *, dry: bool) -> Iterator[str]:
    """Remove what a request names from the tables; yield the files that had any.

    An unreadable file may have some, so it is deleted, and the next run makes it again. With
    ``dry`` nothing is changed. Raises StoreError.
    """
    found = {ACCOUNTS: _accounts_left, COVERAGE: _days_left, RUN_ROWS: _runs_left}
    for folder, left in found.items():
        for file in derived_files.files(tree, folder):
            if _shorten(tree, file.name, partial(left, request=request), dry=dry):
                yield file.name


def _shorten(tree: Tree, name: str, left: Callable[[pa.Table], pa.Table], *, dry: bool) -> bool:
    """Leave in a file of a table what ``left`` returns of its rows; whether that is less."""
    with suppress(DamagedOutput):
        rows = derived_files.read(tree.store, name)
        if left(rows).equals(rows):
            return False
    if not dry:
        derived_files.replace(tree, name, lambda old: map(left, derived_files.pieces(old)))
    return True


def _accounts_left(rows: pa.Table, request: ErasureRequest) -> pa.Table:
    """Return the accounts that stay: all, unless everything of them is forgotten."""
    if not request.has(None, None):
        return rows
    return rows.filter(pc.invert(_is_in(rows, "appid", request.appids)))


def _days_left(rows: pa.Table, request: ErasureRequest) -> pa.Table:
    """Return the ranges of days that stay. A period goes if its first day goes."""
    is_meant = pc.and_(
        _is_in(rows, "appid", request.appids), _is_in(rows, "dataset", request.datasets)
    )
    if request.before is None:
        return rows.filter(pc.invert(is_meant))
    before = pa.scalar(calendar.date_of(request.before), pa.date32())
    begins = pc.and_(is_meant, pc.less(rows["begin_date"], before))
    ends = pc.or_(pc.less(rows["end_date"], before), _is_in(rows, "dataset", _PERIODS))
    place = rows.schema.get_field_index("begin_date")
    cut = pc.if_else(begins, before, rows["begin_date"])
    kept = rows.set_column(place, rows.schema.field("begin_date"), cut)
    return kept.filter(pc.invert(pc.and_(begins, ends)))


def _runs_left(rows: pa.Table, request: ErasureRequest) -> pa.Table:
    """Return the runs without labels that name the accounts."""
    runs = [{**row, "labels": dict(row["labels"])} for row in rows.to_pylist()]
    return pa.Table.from_pylist(erase_from_json(runs, request), schema=derived.RUNS)


def _is_in(rows: pa.Table, column: str, names: frozenset[str] | list[str]) -> pa.ChunkedArray:
    return pc.is_in(rows[column], pa.array(names, pa.string()))
