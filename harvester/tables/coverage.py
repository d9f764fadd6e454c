"""What is known of a month: one partition's accounts, and the state of each of their days.

A mask is an integer whose bit 0 is the first of the month. A day is *final*, or *provisional* and
asked again on later Beijing days, or unknown. Apart from that it may be *quarantined*, when the
last answer could not be used, and it may have rows.

The text form lives in a Parquet footer: base64 of a version byte, the length of the payload, the
payload compressed with zstd, and a CRC-32 of the payload. The payload is the month, then arrays:
appids of 8 bytes each, the four masks, and the sorted moments at which provisional days were asked.
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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from harvester.core import calendar
from harvester.core.calendar import Day, Month
from harvester.core.errors import OtherVersion, StoreError
from harvester.core.model import is_appid

VERSION = 1
"""Version of the text form, in its first byte, which every later version keeps."""

_HEADER = struct.Struct("<BI")
_PAYLOAD = struct.Struct("<III")
_CRC = struct.Struct("<I")
_LONGEST_PAYLOAD = 256 << 20
_DAYS_PER_ACCOUNT = 32


@dataclass(slots=True)
class AccountDays:
    """One account's month: masks, and when each provisional day (0 is the first) was asked."""

    final: int = 0
    provisional: int = 0
    quarantined: int = 0
    with_rows: int = 0
    asked: dict[int, int] = field(default_factory=dict)

    @property
    def covered(self) -> int:
        """The days of which anything is known."""
        return self.final | self.provisional | self.quarantined | self.with_rows

    def without(self, mask: int) -> AccountDays:
        """The same with nothing known of these days."""
        return AccountDays(
            self.final & ~mask,
            self.provisional & ~mask,
            self.quarantined & ~mask,
            self.with_rows & ~mask,
            {day: at for day, at in self.asked.items() if not mask >> day & 1},
        )


@dataclass(frozen=True, slots=True)
class Coverage:
    """A month of a partition. The arrays run in the order of ``appids``.

    ``packed`` has the appids as 8 bytes each; ``asked`` has a number for each provisional day:
    (place of the account × 32 + day of the month from 0) × 2**32 + seconds since the Unix epoch.
    """

    month: Month
    packed: bytes
    final: array[int]
    provisional: array[int]
    quarantined: array[int]
    with_rows: array[int]
    asked: array[int]

    @property
    def appids(self) -> tuple[str, ...]:
        """The accounts anything is known of, sorted."""
        return _unpack(self.packed)

    def account(self, appid: str) -> AccountDays:
        """One account's month, to be changed at will; all unknown if nobody asked."""
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

    def no_ask_today(self, today: Day) -> Iterator[tuple[str, int]]:
        """For each account the days that need no asking on this Beijing day.

        These are the final and the quarantined ones, and those asked today.
        """
        masks = _union(self.final, self.quarantined)
        begin, end = int(calendar.instant(today)), int(calendar.instant(today + 1))
        for number in self.asked:
            if begin <= number & 0xFFFFFFFF < end:
                place, day = divmod(number >> 32, _DAYS_PER_ACCOUNT)
                masks[place] |= 1 << day
        return zip(self.appids, masks, strict=True)

    def updated(self, changes: Mapping[str, AccountDays]) -> Coverage:
        """The same with these accounts put in, or in the place of what was known of them."""
        old = {appid: self.account(appid) for appid in self.appids if appid not in changes}
        return of_accounts(self.month, {**old, **changes})

    def without(self, masks: Mapping[str, int]) -> Coverage:
        """The same with nothing known of these days; who has nothing left is not named."""
        left = {appid: self.account(appid).without(masks.get(appid, 0)) for appid in self.appids}
        return of_accounts(
            self.month, {appid: known for appid, known in left.items() if known.covered}
        )

    def _asked_of(self, place: int) -> Iterator[tuple[int, int]]:
        if not self.provisional[place]:
            return
        first = place * _DAYS_PER_ACCOUNT
        index = bisect_left(self.asked, first << 32)
        for number in self.asked[index : index + self.provisional[place].bit_count()]:
            yield (number >> 32) - first, number & 0xFFFFFFFF


def empty(month: Month) -> Coverage:
    """A month nobody asked about yet."""
    return _of_arrays(month, b"", [array("I") for _ in range(4)], array("Q"))


def of_accounts(month: Month, accounts: Mapping[str, AccountDays]) -> Coverage:
    """A month of which exactly this is known. Raises ValueError for what is no appid."""
    appids = sorted(accounts)
    known = [accounts[appid] for appid in appids]
    asked = (
        (place * _DAYS_PER_ACCOUNT + day) << 32 | of_account.asked[day]
        for place, of_account in enumerate(known)
        if of_account.asked
        for day in sorted(of_account.asked)
    )
    return Coverage(
        month=month,
        packed=_pack(appids),
        final=array("I", [of_account.final for of_account in known]),
        provisional=array("I", [of_account.provisional for of_account in known]),
        quarantined=array("I", [of_account.quarantined for of_account in known]),
        with_rows=array("I", [of_account.with_rows for of_account in known]),
        asked=array("Q", asked),
    )


def union(one: Coverage, other: Coverage) -> Coverage:
    """What either knows of a month.

    A day that is final in one of them is final, and of a provisional one the later asking counts.
    """
    both = {appid: one.account(appid) for appid in one.appids}
    for appid in other.appids:
        mine, more = both.get(appid, AccountDays()), other.account(appid)
        final = mine.final | more.final
        asked = {
            day: max(mine.asked.get(day, 0), more.asked.get(day, 0))
            for day in mine.asked.keys() | more.asked.keys()
            if not final >> day & 1
        }
        both[appid] = AccountDays(
            final,
            (mine.provisional | more.provisional) & ~final,
            mine.quarantined | more.quarantined,
            mine.with_rows | more.with_rows,
            asked,
        )
    return of_accounts(one.month, both)


def encode(coverage: Coverage) -> str:
    """The text form, ASCII only."""
    head = _PAYLOAD.pack(coverage.month, len(coverage.final), len(coverage.asked))
    payload = b"".join([head, coverage.packed, *map(_little_endian, _arrays(coverage))])
    squeezed = pa.Codec("zstd", compression_level=3).compress(payload, asbytes=True)
    parts = (_HEADER.pack(VERSION, len(payload)), squeezed, _CRC.pack(zlib.crc32(payload)))
    return base64.b64encode(b"".join(parts)).decode()


def decode(text: str | bytes) -> Coverage:
    """Read the text form. Raises StoreError for damage, OtherVersion for a newer version."""
    try:
        raw = base64.b64decode(text, validate=True)
        version, length = _HEADER.unpack_from(raw)
        if version > VERSION:
            raise OtherVersion.newer("coverage", version, VERSION)
        return _of_payload(_payload_of(raw, length))
    except (ValueError, OSError, struct.error):
        raise StoreError(
            "damaged coverage: what is known of this month cannot be read",
            "restore the file, or move it away to have its days asked again",
        ) from None


def _payload_of(raw: bytes, length: int) -> bytes:
    """Decompress and check. Raises ValueError or OSError for damage."""
    if length > _LONGEST_PAYLOAD:
        raise ValueError("longer than any month")
    squeezed = memoryview(raw)[_HEADER.size : -_CRC.size]
    payload: bytes = pa.Codec("zstd").decompress(squeezed, decompressed_size=length, asbytes=True)
    if _CRC.pack(zlib.crc32(payload)) != raw[-_CRC.size :]:
        raise ValueError("another checksum")
    return payload


def _of_payload(payload: bytes) -> Coverage:
    """Cut a payload into its arrays. Raises ValueError or struct.error if it is none."""
    month, accounts, asked = _PAYLOAD.unpack_from(payload)
    sizes = [_PAYLOAD.size, 8 * accounts, *[4 * accounts] * 4, 8 * asked]
    edges = list(itertools.accumulate(sizes))
    if edges[-1] != len(payload):
        raise ValueError("another length")
    packed, *masks, moments = (payload[begin:end] for begin, end in itertools.pairwise(edges))
    return _of_arrays(month, packed, [_array("I", m) for m in masks], _array("Q", moments))


def _of_arrays(month: Month, packed: bytes, masks: list[array[int]], asked: array[int]) -> Coverage:
    final, provisional, quarantined, with_rows = masks
    return Coverage(month, packed, final, provisional, quarantined, with_rows, asked)


def _arrays(coverage: Coverage) -> Iterable[array[int]]:
    return (
        coverage.final,
        coverage.provisional,
        coverage.quarantined,
        coverage.with_rows,
        coverage.asked,
    )


def _array(kind: str, raw: bytes) -> array[int]:
    values: array[int] = array(kind)
    values.frombytes(raw)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _little_endian(values: array[int]) -> bytes:
    if sys.byteorder == "little":
        return values.tobytes()
    swapped = values[:]
    swapped.byteswap()
    return swapped.tobytes()


def _union(one: array[int], other: array[int]) -> array[int]:
    """The masks of both, account by account: as two big numbers, a hundred times faster."""
    both = int.from_bytes(one.tobytes(), "little") | int.from_bytes(other.tobytes(), "little")
    masks: array[int] = array("I")
    masks.frombytes(both.to_bytes(4 * len(one), "little"))
    return masks


def _pack(appids: list[str]) -> bytes:
    for appid in appids:
        if not is_appid(appid):
            raise ValueError(f"not an appid: {appid[:40]!r}")
    return bytes.fromhex("".join(appid[2:] for appid in appids))


@functools.lru_cache(maxsize=8)
def _unpack(packed: bytes) -> tuple[str, ...]:
    """Months follow each other with the same accounts, so their names are shared."""
    text = packed.hex()
    return tuple([f"wx{text[i : i + 16]}" for i in range(0, len(text), 16)])
