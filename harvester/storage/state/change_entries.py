"""Change log of a bucket: its entries, its files, and positions in it. Pure.

The entries of a bucket are numbered without a gap, in the order in which the changes became
durable. Each holds the mark of the one before it, and a mark depends on all entries so far, so two
logs that agree on a mark agree on everything before it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Final, Literal, NamedTuple

from harvester.core.results import Change, Op
from harvester.storage.backends.base import FileInfo
from harvester.storage.layout import CHANGES
from harvester.storage.state.packed_lines import LINES

BEGIN: Final = "begin"
"""Operation of the first entry of a log, which is no change."""

_LABEL = r"\d{4,}-of-\d{4,}"
_NAME = re.compile(
    rf"{CHANGES}/({_LABEL})/"
    r"(?:(?:rounds/(\d{12})|log/(\d{12})-(\d{12})\.(\d{4}-\d{2}-\d{2})\.([0-9a-f]{10}))"
    rf"{re.escape(LINES)}"
    r"|begun/[^/]+\.entry)"
)
_FORM = "v1"
_PLACE = re.compile(r"(\d{1,4})-(\d{1,4})-(\d{1,12})-([0-9a-f]{10})?")
_MARK_DIGITS = 10
_LAST = 10**12 - 1
"""The largest number of an entry."""


class BrokenHistory(Exception):
    """A log without the entries that follow a position, or a position of another log."""


class LogPosition(NamedTuple):
    """A place between two entries: the number and the mark of the one before it.

    Before the first entry the number is 0, and the mark is that of the files of the bucket.
    """

    seq: int = 0
    mark: str = ""


@dataclass(frozen=True, slots=True)
class LogEntry(Change):
    """A change as a log has it; ``after`` is the mark of the entry before, ``at`` the time in UTC.

    The log sets the number, the mark, the time and the run.
    """

    op: Op | Literal["begin"] = "replaced"  # type: ignore[assignment] # the first is no change
    run_id: str = ""
    after: str = ""
    at: str = ""

    @property
    def position(self) -> LogPosition:
        """The place behind this entry."""
        # Without days and accounts, which `forget` edits.
        text = f"{self.after} {self.seq} {self.at} {self.op} {self.run_id} {self.path}"
        return LogPosition(self.seq, mark_of(text))

    def change(self) -> Change:
        """Return the entry as readers of the feed get it; the first of a log is no change."""
        return Change(**{field.name: getattr(self, field.name) for field in fields(Change)})


class LogFile(NamedTuple):
    """A file with the entries from ``first`` to ``last``, compressed.

    A segment names the day and the mark of its last entry. A file of one publish round names
    neither, and its last entry may come before ``last``.
    """

    file: FileInfo
    first: int
    last: int
    day: str = ""
    mark: str = ""

    @property
    def is_round(self) -> bool:
        """True for a file of one round, which is not folded yet."""
        return not self.mark


@dataclass(slots=True)
class Shelf:
    """The files of one log; ``begun`` are announced changes."""

    segments: list[LogFile] = field(default_factory=list)
    rounds: list[LogFile] = field(default_factory=list)
    begun: list[FileInfo] = field(default_factory=list)

    @property
    def files(self) -> list[LogFile]:
        """The files by their first entry, the longest first, without rounds that are folded.

        Only its contents tell where a round ends, so it counts up to the next one.
        """
        segments = sorted(self.segments, key=lambda each: (each.first, -each.last))
        folded = max((each.last for each in segments), default=0)
        rounds = [each for each in self.rounds if each.first > folded]
        ends = [each.first - 1 for each in rounds[1:]] + [_LAST]
        return segments + [x._replace(last=end) for x, end in zip(rounds, ends, strict=False)]

    @property
    def newest(self) -> LogFile | None:
        """The file of the last entry."""
        return max(self.files, key=lambda each: each.last, default=None)


def shelves(found: Iterable[FileInfo]) -> dict[str, Shelf]:
    """Return the logs in a listing, by the bucket as in names. Other files are passed over."""
    logs: dict[str, Shelf] = {}
    for file in found:
        if match := _NAME.fullmatch(file.name):
            label, number, first, last, day, mark = match.groups()
            shelf = logs.setdefault(label, Shelf())
            if number:
                shelf.rounds.append(LogFile(file, int(number), int(number)))
            elif first:
                shelf.segments.append(LogFile(file, int(first), int(last), day, mark))
            else:
                shelf.begun.append(file)
    return logs


def round_name(label: str, first: int) -> str:
    """Return the name of the file of a round that begins with the entry ``first``."""
    return f"{CHANGES}/{label}/rounds/{first:012d}{LINES}"


def segment_name(label: str, first: int, last: LogEntry) -> str:
    """Return the name of a segment that begins with the entry ``first``."""
    place = f"{first:012d}-{last.seq:012d}.{last.at[:10]}.{last.position.mark}"
    return f"{CHANGES}/{label}/log/{place}{LINES}"


def mark_of(text: str) -> str:
    """Return the mark of a text."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:_MARK_DIGITS]


def files_mark(found: Iterable[FileInfo]) -> str:
    """Return the mark of the data files of a bucket before its first entry; empty without any."""
    listed = sorted(f"{file.name} {file.version}" for file in found)
    return mark_of("\n".join(listed)) if listed else ""


def needed(files: Iterable[LogFile], after: int) -> list[LogFile]:
    """Return the files without those of which all entries after a number are in others.

    ``files`` are in the order of their first entries, the longest first.
    """
    chosen: list[LogFile] = []
    for each in files:
        if each.last > after:
            chosen.append(each)
            after = each.last
    return chosen


def followed(entries: Iterable[LogEntry], at: LogPosition) -> Iterator[LogEntry]:
    """Yield the entries after a position. Raises BrokenHistory if one is missing or another's."""
    for entry in entries:
        if entry.seq <= at.seq:
            continue
        if (entry.seq, entry.after) != (at.seq + 1, at.mark):
            raise BrokenHistory
        yield entry
        at = entry.position


def cursor(positions: Mapping[str, LogPosition]) -> str:
    """Return positions in the logs of a tree as one word. Buckets without any files have none."""
    places = (
        "{}-{}-{}-{}".format(*map(int, label.split("-of-")), *at)
        for label, at in sorted(positions.items())
        if at != LogPosition()
    )
    return ",".join((_FORM, *places))


def parse_cursor(text: str) -> dict[str, LogPosition] | None:
    """Return the positions of a cursor, None for what is no cursor."""
    form, *places = text.strip().split(",")
    matches = [_PLACE.fullmatch(place) for place in places]
    if form != _FORM or None in matches:
        return None
    return {
        f"{int(match[1]):04d}-of-{int(match[2]):04d}": LogPosition(int(match[3]), match[4] or "")
        for match in matches
        if match
    }
