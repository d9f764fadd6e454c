"""Requests that a next run would make, by what it asks again: the price of the commands to type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from harvester.core import calendar
from harvester.core.config.settings import Manifest
from harvester.core.windows import count_windows
from harvester.planning.wanted_days import Wanted, each_missing
from harvester.storage.coverage_scan import Refetch, States, gaps, to_ask

_States: TypeAlias = dict[str, dict[str, States]]

MAX_NAMED = 5
"""Accounts that a command names. Of more the command names none and asks all."""


@dataclass(frozen=True, slots=True)
class SuspiciousGaps:
    """Empty days between days with rows, and the narrowest selection that has them all.

    ``accounts`` is their number, ``appids`` names them if they are few, and ``datasets`` theirs if
    there are others. ``requests`` are those of a run over the selection that treats empty days as
    missing, None if they are not known.
    """

    days: int
    ranges: int
    accounts: int
    appids: tuple[str, ...]
    datasets: tuple[str, ...]
    begin: calendar.Day
    end: calendar.Day
    requests: int | None


@dataclass(frozen=True, slots=True)
class NextRequests:
    """Requests of a next run, without retries.

    ``missing`` are for the missing days, which every run asks, and ``quarantined`` for these and
    the quarantined ones. ``suspicious`` is None if no gap is.
    """

    missing: int = 0
    quarantined: int = 0
    suspicious: SuspiciousGaps | None = None


NO_REQUESTS = NextRequests()


def next_requests(manifest: Manifest, want: Wanted, states: _States) -> NextRequests:
    """Count the requests of a run that begins now, by what it asks again."""

    def price(wanted: Wanted, refetch: Refetch | None = None) -> int:
        asked = each_missing(manifest, to_ask(states, wanted, refetch))
        return sum(count_windows(days, dataset.span, cut) for dataset, _, days, cut in asked)

    return NextRequests(price(want), price(want, "quarantined"), _suspicious(want, states, price))


def merged_requests(one: NextRequests, other: NextRequests) -> NextRequests:
    """Return the requests of a next run over the accounts of two shards."""
    parts = one, other
    found = [part.suspicious for part in parts if part.suspicious is not None]
    # What a selection costs that lies in several shards no shard alone can say.
    first = found[0] if len(found) == 1 and found[0].appids else None
    return NextRequests(
        sum(part.missing for part in parts),
        sum(part.quarantined for part in parts),
        first or (_unpriced(found) if found else None),
    )


def _unpriced(parts: Sequence[SuspiciousGaps]) -> SuspiciousGaps:
    return SuspiciousGaps(
        days=sum(part.days for part in parts),
        ranges=sum(part.ranges for part in parts),
        accounts=sum(part.accounts for part in parts),
        appids=(),
        datasets=(),
        begin=min(part.begin for part in parts),
        end=max(part.end for part in parts),
        requests=None,
    )


def _suspicious(
    want: Wanted, states: _States, price: Callable[[Wanted, Refetch], int]
) -> SuspiciousGaps | None:
    # While a dataset is empty everywhere, asking it again brings nothing.
    found = {key: odd for key, odd in gaps(states).items() if not states[key[0]][key[1]].everywhere}
    if not found:
        return None
    datasets, appids = (tuple(dict.fromkeys(names)) for names in zip(*found, strict=True))
    begin = min(map(calendar.oldest, found.values()))
    end = max(map(calendar.newest, found.values()))
    named = appids if len(appids) <= MAX_NAMED else ()
    inside = calendar.day_range(begin, end)
    asked = {
        name: {x: days & inside for x, days in want[name].items() if not named or x in named}
        for name in datasets
    }
    others = (name for name, of_dataset in want.items() if of_dataset and name not in datasets)
    return SuspiciousGaps(
        days=sum(map(calendar.count_days, found.values())),
        ranges=sum(1 for odd in found.values() for _ in calendar.day_ranges(odd)),
        accounts=len(appids),
        appids=named,
        datasets=datasets if any(others) else (),
        begin=begin,
        end=end,
        requests=price(asked, "empty"),
    )
