"""Coverage: the accounts of one partition, and the state of each of their days.

A mask is an integer whose bit 0 is the first of the month. A day is *final*, or *provisional* and
asked again on later Beijing days, or unknown. In addition it may be *quarantined*, if the last
answer was not usable, and it may have rows.

The text form is stored in a Parquet footer: base64 of a version byte, the length of the payload,
the payload compressed with zstd, and a CRC-32 of the payload. The payload is the month, the number
of accounts, the number of provisional days, and then arrays in little-endian byte order: appids of
8 bytes each, the four masks, and the sorted times at which provisional days were asked.
"""

from __future__ import annotations

import base64
import functools
import itertools
import struct
import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter

import pyarrow as pa

from harvester.core import calendar
from harvester.core.calendar import Day, Month
from harvester.core.errors import DamagedOutput, OtherVersion
from harvester.core.model import is_appid

VERSION = 1
"""Version of the text form, stored in its first byte in every version."""

_HEADER = struct.Struct("<BI")
_PAYLOAD = struct.Struct("<III")
_CRC = struct.Struct("<I")
_MAX_PAYLOAD_BYTES = 32 << 20
_DAYS_PER_ACCOUNT = 32
_SECONDS = 0xFFFFFFFF
"""Part of a number in ``asked`` that is the time."""

_MASKS = ("final", "provisional", "quarantined", "with_rows")


@dataclass(slots=True)
class AccountDays:
    """State of one account's days in a month.

    ``asked`` has the time at which each provisional day was asked, in seconds since the Unix epoch;
    0 if it is unknown; day 0 is the first of the month. All other fields are masks.
    """

    final: int = 0
    provisional: int = 0
    quarantined: int = 0
    with_rows: int = 0
    asked: dict[int, int] = field(default_factory=dict)

    @property
    def covered(self) -> int:
        """Mask of all days that have a state or rows."""
        return self.final | self.provisional | self.quarantined | self.with_rows

    def without(self, mask: int) -> AccountDays:
        """Return a copy in which the days of a mask are unknown."""
        asked = {day: at for day, at in self.asked.items() if not mask >> day & 1}
        return AccountDays(**{name: getattr(self, name) & ~mask for name in _MASKS}, asked=asked)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Coverage of one partition and month. The arrays are in the order of ``appids``.

    ``packed`` has 8 bytes for each appid. ``asked`` has a number for each provisional day:
    (index of the account × 32 + day of the month from 0) × 2**32 + seconds since the Unix epoch.
    """

    month: Month
    packed: bytes
    final: array[int]
    provisional: array[int]
    quarantined: array[int]
    with_rows: array[int]
    asked: array[int]

    @property
    def masks(self) -> tuple[array[int], ...]:
        """The arrays of masks, in the order of the members of `AccountDays`."""
        return self.final, self.provisional, self.quarantined, self.with_rows

    @property
    def appids(self) -> tuple[str, ...]:
        """Appids of all accounts that have a state, sorted."""
        return _unpack(self.packed)

    def filled(self) -> tuple[tuple[Day, ...], tuple[str, ...]]:
        """Return the days on which any account has rows, and those accounts."""
        mask = functools.reduce(int.__or__, self.with_rows, 0)
        days = calendar.each_day(calendar.from_month_mask(mask, self.month))
        return tuple(days), tuple(itertools.compress(self.appids, self.with_rows))

    def account(self, appid: str) -> AccountDays:
        """Return a copy of an account's state; all days are unknown if it was never asked."""
        place = bisect_left(self.appids, appid)
        if place == len(self.appids) or self.appids[place] != appid:
            return AccountDays()
        return AccountDays(
            self.final[place],
            self.provisional[place],
            self.quarantined[place],
            self.with_rows[place],
            dict(self._asked_of(place)),
        )

    def asked_until(self, now: float) -> Coverage:
        """Return the coverage with 0, for unknown, in the place of times later than ``now``.

        A wrong clock told them, so they say nothing about which of two answers is older.
        """
        if all(number & _SECONDS <= now for number in self.asked):
            return self
        known = (x if x & _SECONDS <= now else x & ~_SECONDS for x in self.asked)
        return replace(self, asked=array("Q", known))

    def no_ask_today(self, now: float) -> Iterator[tuple[str, int]]:
        """Yield each appid with the mask of its days that need no request on the present day.

        These are the final and the quarantined days, and those asked on this Beijing day. ``now``
        is in seconds since the Unix epoch; a day asked later than that was asked at an unknown
        time.
        """
        masks = _union_masks(self.final, self.quarantined)
        begin = int(calendar.instant(calendar.today(now)))
        for number in self.asked:
            if begin <= number & _SECONDS <= now:
                place, day = divmod(number >> 32, _DAYS_PER_ACCOUNT)
                masks[place] |= 1 << day
        return zip(self.appids, masks, strict=True)

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

    def _asked_of(self, place: int) -> Iterator[tuple[int, int]]:
        if not self.provisional[place]:
            return
        first = place * _DAYS_PER_ACCOUNT
        index = bisect_left(self.asked, first << 32)
        for number in self.asked[index : index + self.provisional[place].bit_count()]:
            yield (number >> 32) - first, number & _SECONDS


def empty(month: Month) -> Coverage:
    """Return the coverage of a month that was never asked."""
    return of_accounts(month, {})


def of_accounts(month: Month, accounts: Mapping[str, AccountDays]) -> Coverage:
    """Return the coverage of these accounts. Raises ValueError for a key that is not an appid."""
    appids = sorted(accounts)
    known = [accounts[appid] for appid in appids]
    asked = (
        (place * _DAYS_PER_ACCOUNT + day) << 32 | of_account.asked[day]
        for place, of_account in enumerate(known)
        if of_account.asked
        for day in sorted(of_account.asked)
    )
    masks = (array("I", map(attrgetter(name), known)) for name in _MASKS)
    return Coverage(month, _pack(appids), *(*masks, array("Q", asked)))


def encode(coverage: Coverage) -> str:
    """Return the text form, which is ASCII."""
    head = _PAYLOAD.pack(coverage.month, len(coverage.final), len(coverage.asked))
    arrays = map(_little_endian, (*coverage.masks, coverage.asked))
    payload = b"".join([head, coverage.packed, *(values.tobytes() for values in arrays)])
    squeezed = pa.Codec("zstd", compression_level=3).compress(payload, asbytes=True)
    parts = (_HEADER.pack(VERSION, len(payload)), squeezed, _CRC.pack(zlib.crc32(payload)))
    return base64.b64encode(b"".join(parts)).decode()


def decode(text: str | bytes) -> Coverage:
    """Parse the text form. Raises DamagedOutput if it is damaged, OtherVersion if it is newer."""
    try:
        raw = base64.b64decode(text, validate=True)
        version, length = _HEADER.unpack_from(raw)
        if version > VERSION:
            raise OtherVersion.newer("coverage", version, VERSION)
        return _parse_payload(_decompress(raw, length))
    except (ValueError, OSError, struct.error):
        raise DamagedOutput(
            "damaged coverage: the state of this month's days cannot be read",
            "restore the file, or move it away to have its days asked again",
        ) from None


def _decompress(raw: bytes, length: int) -> bytes:
    """Return the payload of the text form. Raises ValueError or OSError if it is damaged."""
    # The length is not under the checksum yet, and memory is taken for it before that is known.
    if length > _MAX_PAYLOAD_BYTES:
        raise ValueError("payload is longer than that of any month")
    squeezed = memoryview(raw)[_HEADER.size : -_CRC.size]
    payload: bytes = pa.Codec("zstd").decompress(squeezed, decompressed_size=length, asbytes=True)
    if _CRC.pack(zlib.crc32(payload)) != raw[-_CRC.size :]:
        raise ValueError("checksum differs")
    return payload


def _parse_payload(payload: bytes) -> Coverage:
    """Split a payload into its arrays. Raises ValueError or struct.error if it is damaged."""
    month, accounts, asked = _PAYLOAD.unpack_from(payload)
    sizes = [_PAYLOAD.size, 8 * accounts, *[4 * accounts] * 4, 8 * asked]
    edges = list(itertools.accumulate(sizes))
    if edges[-1] != len(payload):
        raise ValueError("payload has another length than its arrays")
    packed, *masks, times = (payload[begin:end] for begin, end in itertools.pairwise(edges))
    arrays = map(_little_endian, (*(array("I", mask) for mask in masks), array("Q", times)))
    found = Coverage(month, packed, *arrays)
    # Otherwise a day would be looked for at an account that is not there.
    if max(found.asked, default=0) >> 32 >= max(1, _DAYS_PER_ACCOUNT * accounts):
        raise ValueError("a day of no account")
    return found


def _little_endian(values: array[int]) -> array[int]:
    """Convert between the byte order of this machine and that of the text form."""
    if sys.byteorder == "little":
        return values
    swapped = values[:]
    swapped.byteswap()
    return swapped


def _union_masks(one: array[int], other: array[int]) -> array[int]:
    """Unite masks account by account: as two big integers, a hundred times faster."""
    both = int.from_bytes(one.tobytes(), "little") | int.from_bytes(other.tobytes(), "little")
    return array("I", both.to_bytes(4 * len(one), "little"))


def _pack(appids: list[str]) -> bytes:
    for appid in appids:
        if not is_appid(appid):
            raise ValueError(f"not an appid: {appid[:40]!r}")
    return bytes.fromhex("".join(appid[2:] for appid in appids))


@functools.lru_cache(maxsize=8)
def _unpack(packed: bytes) -> tuple[str, ...]:
    # Consecutive months have the same accounts, so the tuple of their names is shared.
    text = packed.hex()
    return tuple([f"wx{text[i : i + 16]}" for i in range(0, len(text), 16)])
