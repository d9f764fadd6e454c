"""Coverage: the accounts of one partition, and the state of each of their days.

A mask is an integer whose bit 0 is the first of the month. A day is *final*, or *provisional* and
asked again on later Beijing days, or unknown. In addition it may be *quarantined*, if the last
answer was not usable, and it may have rows. A day is *late* if an answer without rows came before
its rows, and *old* if its first answer came more than 30 days after it. A final empty day rests on
two answers, unless its mask says that it rests on a *guide* or is *contradicted*: see
`harvester.tables.evidence`.

The text form is stored in a Parquet footer: base64 of a version byte, the length of the payload,
the payload compressed with zstd, and a CRC-32 of the payload. The payload is the month, the numbers
of accounts, times and differences, and then arrays in little-endian byte order: appids of 8 bytes
each, the masks, the sorted times at which provisional days were asked last, the times at which they
were asked first, those of the answers that their rows rest on, and the sorted Beijing days of
differences with their digests.
"""

from __future__ import annotations

import base64
import functools
import itertools
import struct
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

import pyarrow as pa

from harvester.core import calendar
from harvester.core.calendar import Day, DaySet, Month
from harvester.core.errors import DamagedOutput, EarlierBuild, OtherVersion
from harvester.core.model import is_appid

VERSION = 2
"""Version of the text form, stored in its first byte in every version."""

_HEADER = struct.Struct("<BI")
_PAYLOAD = struct.Struct("<IIII")
_CRC = struct.Struct("<I")
MAX_PAYLOAD_BYTES = 32 << 20
"""Longest payload that is read."""

_DAYS_PER_ACCOUNT = 32
SECONDS = 0xFFFFFFFF
"""Part of a number in `Coverage.asked` that is the time."""

COUNTS = ("count_1", "count_2", "count_3")
"""Masks of the days on which the columns of `Dataset.counts` are above 0."""

MASKS = (
    *("final", "provisional", "quarantined", "with_rows"),
    *("again", "late", "guide", "contradicted", *COUNTS),
)
"""Names of the masks, in their order."""

OLD_DAYS = 31
"""Key in `AccountDays.asked` of all old empty days that were asked once, which have no own time."""


class Difference(NamedTuple):
    """An answer whose rows of a final day are others: its Beijing day, and a digest of them."""

    day: Day
    digest: int


APART_SECONDS = 6 * 3600
"""Least time between two answers without rows that make a day final."""


class AskTimes(NamedTuple):
    """Times at which a day was asked first and last, in seconds since the Unix epoch.

    ``rests_on`` is that of the last answer with other rows than before. 0 stands for unknown.
    """

    first: int
    last: int
    rests_on: int = 0

    @property
    def are_two(self) -> bool:
        """True if the last answer is a second one: of a later Beijing day, and hours after."""
        is_apart = bool(self.first) and self.last - self.first >= APART_SECONDS
        return is_apart and calendar.today(self.last) > calendar.today(self.first)


class AccountEvidence(NamedTuple):
    """Evidence of other tables, other days and other accounts about an account's empty days.

    ``silent`` days are empty by their guide as well, those in ``waiting`` are so far, ``thinned``
    ones are but wait for their last age, and of ``contradicted`` ones it has rows, or the dataset
    has a row for every day. ``active`` are all days of which an exact guide has rows. Old days
    whose answer is of a Beijing day in ``moments`` rest on no stretch, because WeChat was silent
    then about a day that has rows. ``is_unknown`` is True for an account that never had a row. Of
    ``drawn`` are final days that are asked again by lot, by what they rest on.
    """

    silent: DaySet = calendar.NO_DAYS
    waiting: DaySet = calendar.NO_DAYS
    thinned: DaySet = calendar.NO_DAYS
    contradicted: DaySet = calendar.NO_DAYS
    active: DaySet = calendar.NO_DAYS
    moments: frozenset[Day] = frozenset()
    is_unknown: bool = False
    drawn: Mapping[str, DaySet] = {}


@dataclass(slots=True)
class AccountDays:
    """State of one account's days in a month.

    ``asked`` has the times at which each provisional day was asked; day 0 is the first of the
    month. All other fields are masks. ``again`` has the old days that were asked again on a later
    Beijing day, and ``late`` those whose rows came after an empty answer. Final empty days rest on
    a ``guide`` or are ``contradicted``. ``count_1`` to ``count_3`` are those of `COUNTS`.
    ``differs`` has the final days of which the last answer had other rows.
    """

    final: int = 0
    provisional: int = 0
    quarantined: int = 0
    with_rows: int = 0
    again: int = 0
    late: int = 0
    guide: int = 0
    contradicted: int = 0
    count_1: int = 0
    count_2: int = 0
    count_3: int = 0
    asked: dict[int, AskTimes] = field(default_factory=dict)
    differs: dict[int, Difference] = field(default_factory=dict)

    @property
    def covered(self) -> int:
        """Mask of all days that have a state or rows."""
        return self.final | self.provisional | self.quarantined | self.with_rows

    @property
    def once(self) -> int:
        """Mask of the old days that were asked once, and were empty."""
        return once(self.provisional, self.asked)

    def without(self, mask: int) -> AccountDays:
        """Return a copy in which the days of a mask are unknown."""
        left = AccountDays(**{name: getattr(self, name) & ~mask for name in MASKS})
        # The time of old days is kept while one of them is left.
        timed = left.provisional | bool(self.once & ~mask) << OLD_DAYS
        left.asked = {day: at for day, at in self.asked.items() if timed >> day & 1}
        left.differs = {day: x for day, x in self.differs.items() if left.final >> day & 1}
        return left


class Coverage(NamedTuple):
    """Coverage of one partition and month. The arrays are in the order of ``appids``.

    ``packed`` has 8 bytes for each appid. ``masks`` are by the names that they have in
    `AccountDays`, in its order. ``asked`` has a number for each item of
    `AccountDays.asked`: (index of the account × 32 + day) × 2**32 + the time when it was asked
    last, ``first`` the time when it was asked first, and ``rests_on`` that of `AskTimes`.
    ``differs`` has such a number with the Beijing day for each item of `AccountDays.differs`, and
    ``digests`` the digests.
    """

    month: Month
    packed: bytes
    masks: Mapping[str, array[int]]
    asked: array[int]
    first: array[int]
    rests_on: array[int]
    differs: array[int]
    digests: array[int]

    @property
    def appids(self) -> tuple[str, ...]:
        """Appids of all accounts that have a state, sorted."""
        return appids_of(self.packed)

    def filled(self) -> tuple[DaySet, list[str]]:
        """Return the days on which any account has rows, and those accounts."""
        masks = self.masks["with_rows"]
        days = calendar.from_month_mask(functools.reduce(int.__or__, masks, 0), self.month)
        return days, [*itertools.compress(self.appids, masks)]

    def account(self, appid: str) -> AccountDays:
        """Return a copy of an account's state; all days are unknown if it was never asked."""
        place = bisect_left(self.appids, appid)
        if place == len(self.appids) or self.appids[place] != appid:
            return AccountDays()
        masks = {name: values[place] for name, values in self.masks.items()}
        return AccountDays(**masks, asked=self.asked_of(place), differs=self.differs_of(place))

    def asked_until(self, now: float) -> Coverage:
        """Return the coverage with 0, for unknown, in the place of times later than ``now``.

        A wrong clock told them, so they say nothing about which of two answers is older.
        """
        if all(number & SECONDS <= now for number in self.asked):
            return self
        known = (x if x & SECONDS <= now else x & ~SECONDS for x in self.asked)
        return self._replace(asked=array("Q", known))

    def updated(self, changes: Mapping[str, AccountDays]) -> Coverage:
        """Return a copy in which these accounts are added or replaced."""
        old = {appid: self.account(appid) for appid in self.appids if appid not in changes}
        return of_accounts(self.month, {**old, **changes})

    def without(self, masks: Mapping[str, int]) -> Coverage:
        """Return a copy in which these days are unknown. Accounts without any state are dropped."""
        left = {appid: self.account(appid).without(masks.get(appid, 0)) for appid in self.appids}
        return of_accounts(
            self.month, {appid: days for appid, days in left.items() if days.covered}
        )

    def asked_of(self, place: int) -> dict[int, AskTimes]:
        """Return `AccountDays.asked` of the account at an index of ``appids``."""
        if not self.masks["provisional"][place]:
            return {}
        begin = place * _DAYS_PER_ACCOUNT
        found: dict[int, AskTimes] = {}
        for index in range(bisect_left(self.asked, begin << 32), len(self.asked)):
            number = self.asked[index]
            day, last = (number >> 32) - begin, number & SECONDS
            if day >= _DAYS_PER_ACCOUNT:
                break
            others = self.first[index], self.rests_on[index]
            found[day] = AskTimes(min(others[0], last), last, min(others[1], last))
        return found

    def differing(self) -> set[int]:
        """Return the indexes of the accounts that have differences."""
        return {number // _DAYS_PER_ACCOUNT >> 32 for number in self.differs}

    def differs_of(self, place: int) -> dict[int, Difference]:
        """Return `AccountDays.differs` of the account at an index of ``appids``."""
        begin, end = (each * _DAYS_PER_ACCOUNT << 32 for each in (place, place + 1))
        indexes = range(bisect_left(self.differs, begin), bisect_left(self.differs, end))
        return {
            (self.differs[index] >> 32) % _DAYS_PER_ACCOUNT: Difference(
                self.differs[index] & SECONDS, self.digests[index]
            )
            for index in indexes
        }


def once(provisional: int, asked: Iterable[int]) -> int:
    """Return the mask of the provisional days that have no time of their own in ``asked``."""
    for day in asked:
        provisional &= ~(1 << day)
    return provisional


# The same few spans are needed for all accounts.
@functools.lru_cache(maxsize=4_096)
def span_mask(begin: Day, end: Day, month: Month) -> int:
    """Return the days of a month from ``begin`` to ``end``, as a mask."""
    return calendar.month_mask(calendar.day_range(begin, end), month)


def empty(month: Month) -> Coverage:
    """Return the coverage of a month that was never asked."""
    return of_accounts(month, {})


def of_accounts(month: Month, accounts: Mapping[str, AccountDays]) -> Coverage:
    """Return the coverage of these accounts. Raises ValueError for a key that is not an appid."""
    appids = sorted(accounts)
    known = [accounts[appid] for appid in appids]
    asked: array[int] = array("Q")
    first: array[int] = array("I")
    rests_on: array[int] = array("I")
    differs: array[int] = array("Q")
    digests: array[int] = array("Q")
    for place, of_account in enumerate(known):
        for day, times in sorted(of_account.asked.items()):
            asked.append((place * _DAYS_PER_ACCOUNT + day) << 32 | times.last)
            first.append(times.first)
            rests_on.append(times.rests_on)
        for day, difference in sorted(of_account.differs.items()):
            differs.append((place * _DAYS_PER_ACCOUNT + day) << 32 | difference.day)
            digests.append(difference.digest)
    masks = {name: array("I", map(attrgetter(name), known)) for name in MASKS}
    return Coverage(month, _pack(appids), masks, asked, first, rests_on, differs, digests)


def encode(coverage: Coverage) -> str:
    """Return the text form, which is ASCII."""
    data = payload(coverage)
    squeezed = pa.Codec("zstd", compression_level=3).compress(data, asbytes=True)
    parts = (_HEADER.pack(VERSION, len(data)), squeezed, _CRC.pack(zlib.crc32(data)))
    return base64.b64encode(b"".join(parts)).decode()


def payload(coverage: Coverage) -> bytes:
    """Return the payload of the text form."""
    lengths = (len(each) for each in (coverage.appids, coverage.asked, coverage.differs))
    head = _PAYLOAD.pack(coverage.month, *lengths)
    arrays = *coverage.masks.values(), *coverage[3:]
    return b"".join([head, coverage.packed, *(values.tobytes() for values in arrays)])


def decode(text: str | bytes) -> Coverage:
    """Parse the text form. Raises DamagedOutput if it is damaged, OtherVersion for another one."""
    try:
        raw = base64.b64decode(text, validate=True)
        version, length = _HEADER.unpack_from(raw)
        if version > VERSION:
            raise OtherVersion.newer("coverage", version, VERSION)
        if version < VERSION:
            raise EarlierBuild.of("coverage", version)
        return parse_payload(_decompress(raw, length))
    except (ValueError, OSError, struct.error):
        raise DamagedOutput(
            "damaged coverage: the state of this month's days cannot be read",
            "restore the file, or move it away to have its days asked again",
        ) from None


def _decompress(raw: bytes, length: int) -> bytes:
    """Return the payload of the text form. Raises ValueError or OSError if it is damaged."""
    # The length is not under the checksum yet, and memory is taken for it before that is known.
    if length > MAX_PAYLOAD_BYTES:
        raise ValueError("payload is longer than that of any month")
    squeezed = memoryview(raw)[_HEADER.size : -_CRC.size]
    payload: bytes = pa.Codec("zstd").decompress(squeezed, decompressed_size=length, asbytes=True)
    if _CRC.pack(zlib.crc32(payload)) != raw[-_CRC.size :]:
        raise ValueError("checksum differs")
    return payload


def parse_payload(payload: bytes) -> Coverage:
    """Split a payload into its arrays. Raises ValueError or struct.error if it is damaged."""
    month, accounts, asked, differs = _PAYLOAD.unpack_from(payload)
    of_times = 8 * asked, 4 * asked, 4 * asked, 8 * differs, 8 * differs
    sizes = [_PAYLOAD.size, 8 * accounts, *[4 * accounts] * len(MASKS), *of_times]
    edges = list(itertools.accumulate(sizes))
    if edges[-1] != len(payload):
        raise ValueError("payload has another length than its arrays")
    # Of a month whose every day is another one a copy would take much memory.
    packed, *rest = (memoryview(payload)[begin:end] for begin, end in itertools.pairwise(edges))
    arrays = [array(kind) for kind in "I" * len(MASKS) + "QIIQQ"]
    for values, part in zip(arrays, rest, strict=True):
        values.frombytes(part)
    masks = arrays[: len(MASKS)]
    of_days = dict(zip(MASKS, masks, strict=True))
    found = Coverage(month, bytes(packed), of_days, *arrays[len(MASKS) :])
    # Otherwise a day would be looked for at an account that is not there.
    if max(*found.asked, *found.differs, 0, 0) >> 32 >= max(1, _DAYS_PER_ACCOUNT * accounts):
        raise ValueError("a day of no account")
    return found


def _pack(appids: list[str]) -> bytes:
    for appid in appids:
        if not is_appid(appid):
            raise ValueError(f"not an appid: {appid[:40]!r}")
    return bytes.fromhex("".join(appid[2:] for appid in appids))


@functools.lru_cache(maxsize=8)
def appids_of(packed: bytes) -> tuple[str, ...]:
    """Return the appids that `Coverage.packed` has, sorted."""
    # Consecutive months have the same accounts, so the tuple of their names is shared.
    text = packed.hex()
    return tuple([f"wx{text[i : i + 16]}" for i in range(0, len(text), 16)])
