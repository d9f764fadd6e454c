from __future__ import annotations

import base64
import zlib
from dataclasses import fields

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given

from harvester.core.calendar import instant, month_of
from harvester.core.dataset import Dataset
from harvester.core.errors import OtherVersion, StoreError
from harvester.core.readiness import settled_before
from harvester.tables import coverage
from harvester.tables.coverage import OLD_DAYS, AccountDays, AskTimes, Coverage, Difference
from tests.support.answers import DAILY, HOURLY, MARCH, appid

MONTH = month_of(MARCH)
NOON = instant(MARCH + 20, 12 * 60)

MASKS = st.integers(0, 2**31 - 1)
TIMES = st.tuples(*[st.integers(0, 2**32 - 1)] * 3).map(
    lambda found: AskTimes(min(found), max(found), found[0])
)


OTHERS = [each.name for each in fields(AccountDays) if each.type == "int"][4:]
"""Masks besides those of the four states."""
DIFFERENCES = st.builds(Difference, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))


@st.composite
def account_days(draw: st.DrawFn) -> AccountDays:
    """A possible state of one account's month."""
    provisional = draw(MASKS)
    once = draw(MASKS) & provisional
    timed = [day for day in range(31) if (provisional & ~once) >> day & 1]
    asked = {day: draw(TIMES) for day in (*timed, *([OLD_DAYS] if once else []))}
    final = draw(MASKS) & ~provisional
    odd = draw(st.sampled_from([0, 1, 2**31 - 1])) & final
    differs = {day: draw(DIFFERENCES) for day in range(31) if odd >> day & 1}
    bad, rows = draw(MASKS), draw(MASKS)
    days = AccountDays(final, provisional, bad, rows, asked=asked, differs=differs)
    for name in OTHERS:
        setattr(days, name, draw(MASKS) & (final | provisional))
    return days


ACCOUNTS = st.dictionaries(st.integers(0, 2**64 - 1).map(appid), account_days(), max_size=5)


def as_dict(month: Coverage) -> dict[str, AccountDays]:
    """All accounts of a coverage."""
    return {name: month.account(name) for name in month.appids}


@given(ACCOUNTS)
def test_the_text_form_keeps_everything(accounts: dict[str, AccountDays]) -> None:
    """Any month survives its text form, account by account."""
    month = coverage.empty(MONTH).updated(accounts)
    again = coverage.decode(coverage.encode(month))
    assert again == month
    assert as_dict(again) == accounts
    assert list(again.appids) == sorted(accounts)


@given(ACCOUNTS, ACCOUNTS)
def test_updating_replaces_accounts(
    old: dict[str, AccountDays], new: dict[str, AccountDays]
) -> None:
    """New accounts are added, old ones replaced, all others stay."""
    assert as_dict(coverage.empty(MONTH).updated(old).updated(new)) == old | new


@given(ACCOUNTS, ACCOUNTS, st.integers(0, 2**31 - 1))
def test_removed_days_are_unknown(
    one: dict[str, AccountDays], other: dict[str, AccountDays], mask: int
) -> None:
    """Days of some accounts are removed, all others stay, and accounts without days are dropped."""
    month = coverage.of_accounts(MONTH, one | other)
    left = month.without(dict.fromkeys(other, mask))
    for name in one | other:
        before, after = month.account(name), left.account(name)
        assert after == (before.without(mask) if name in other else before)
        assert (name in left.appids) == bool(after.covered) or not before.covered
    assert all(left.account(name).covered & mask == 0 for name in other)
    assert left.without(dict.fromkeys(other, mask)) == left


def test_an_account_without_coverage() -> None:
    """All days of an account that was never asked are unknown."""
    month = coverage.empty(MONTH).updated({appid(3): AccountDays(final=1)})
    assert month.account(appid(2)) == month.account(appid(4)) == AccountDays()


FORTY = {appid(n): AccountDays(n, 1 << 30, 0, 1, asked={30: AskTimes(0, n)}) for n in range(40)}
SAMPLE = coverage.encode(coverage.empty(MONTH).updated(FORTY))


def read_or_refuse(raw: bytes) -> Coverage | None:
    """Decode the text form of these bytes; None if it is rejected."""
    try:
        return coverage.decode(base64.b64encode(raw))
    except (StoreError, OtherVersion):
        return None


@pytest.mark.parametrize("place", range(len(base64.b64decode(SAMPLE))))
def test_every_changed_byte_is_detected(place: int) -> None:
    """A coverage with one changed byte is rejected."""
    raw = bytearray(base64.b64decode(SAMPLE))
    for bit in range(8):
        raw[place] ^= 1 << bit
        # A bit that compression does not look at may change and change nothing.
        assert read_or_refuse(bytes(raw)) in (None, coverage.decode(SAMPLE))
        raw[place] ^= 1 << bit


PIECES = [SAMPLE[:-4], SAMPLE[:40], SAMPLE * 2]


@pytest.mark.parametrize("text", ["", "A", "AAAA", "nonsense", "ü", *PIECES])
def test_damage_is_refused(text: str) -> None:
    """A text that is not a whole coverage is rejected."""
    with pytest.raises((StoreError, OtherVersion)):
        coverage.decode(text)


def test_arrays_that_are_shorter_than_they_say_are_refused() -> None:
    """Also if the checksum is right: then another program wrote it."""
    payload = coverage._PAYLOAD.pack(MONTH, 2, 0, 0) + bytes(8)
    squeezed = pa.Codec("zstd").compress(payload, asbytes=True)
    head, end = coverage._HEADER.pack(coverage.VERSION, len(payload)), zlib.crc32(payload)
    raw = head + squeezed + coverage._CRC.pack(end)
    with pytest.raises(StoreError, match="damaged coverage"):
        coverage.decode(base64.b64encode(raw))


def test_a_newer_version_is_refused_by_number() -> None:
    """A coverage of a newer version is rejected, and the message names the remedy."""
    raw = bytearray(base64.b64decode(SAMPLE))
    raw[0] = 9
    with pytest.raises(OtherVersion, match="version 9") as caught:
        coverage.decode(base64.b64encode(raw))
    assert "newer" in caught.value.advice


def test_an_older_version_is_named_and_not_called_damaged() -> None:
    """No release wrote the first version: the message says what to do with such an output."""
    raw = bytearray(base64.b64decode(SAMPLE))
    raw[0] = 1
    with pytest.raises(OtherVersion, match="a build from before") as caught:
        coverage.decode(base64.b64encode(raw))
    assert "new output" in caught.value.advice


@pytest.mark.parametrize(
    "name", ["wx1", "wx000000000000000g", "WX0000000000000001", "../../etc/passwd12"]
)
def test_only_appids_are_accepted(name: str) -> None:
    """A coverage cannot be made with a key that is not an appid."""
    with pytest.raises(ValueError, match="not an appid"):
        coverage.empty(MONTH).updated({name: AccountDays()})


@pytest.mark.parametrize(
    ("dataset", "age", "final"),
    [(HOURLY, 0, False), (HOURLY, 1, True), (DAILY, 3, False), (DAILY, 4, True)],
)
def test_when_a_day_with_rows_is_final(dataset: Dataset, age: int, *, final: bool) -> None:
    """A day with rows is final when it is older than its settling time."""
    assert (MARCH + 20 - age < settled_before(dataset, NOON)) is final


def test_ten_thousand_accounts_are_small() -> None:
    """The text form of ten thousand settled accounts is little larger than their appids."""
    full = 2**31 - 1
    names = (appid(n * 0x9E3779B97F4A7C15 % 2**64) for n in range(10_000))
    month = coverage.empty(MONTH).updated({name: AccountDays(full, 0, 0, full) for name in names})
    assert len(coverage.encode(month)) < 120_000


def test_a_time_to_come_is_unknown() -> None:
    """A day that was asked for later than now was asked at an unknown time: the file says 0."""
    now = int(NOON)
    asked = {0: AskTimes(now - 90, now - 60), 1: AskTimes(now - 60, now + 60)}
    known = AccountDays(provisional=0b11, asked=dict(asked))
    month = coverage.empty(MONTH).updated({appid(1): known})
    assert month.asked_until(NOON).account(appid(1)).asked == {0: asked[0], 1: AskTimes(0, 0)}
    assert month.asked_until(NOON + 86_400) is month
