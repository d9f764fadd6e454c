"""Requests that a next run would make, by what it asks again: the price of the commands to type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harvester.core import calendar
from harvester.core.config.settings import Manifest
from harvester.core.windows import count_windows
from harvester.planning.wanted_days import Wanted
from harvester.storage.coverage_scan import States

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


@dataclass(frozen=True, slots=True)
class _Days:
    """The missing days and the state of one dataset of one account, and the rule for windows."""

    dataset: str
    appid: str
    missing: calendar.DaySet
    state: States
    cut: tuple[int, calendar.Day]


def next_requests(
    manifest: Manifest, want: Wanted, states: Mapping[str, Mapping[str, States]]
) -> NextRequests:
    """Count the requests of a run that begins now, by what it asks again."""
    days = [
        _Days(dataset, appid, wanted & ~state.no_ask_today, state, (span, state.boundary))
        for dataset, of_dataset in want.items()
        for span in [manifest.datasets[dataset].span]
        for appid, wanted in of_dataset.items()
        for state in [states[dataset][appid]]
    ]
    return NextRequests(
        sum(count_windows(each.missing, *each.cut) for each in days),
        sum(count_windows(each.missing | each.state.quarantined, *each.cut) for each in days),
        _suspicious(days),
    )


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


def _suspicious(days: list[_Days]) -> SuspiciousGaps | None:
    # While a dataset is empty everywhere, asking it again brings nothing.
    found = [(x, odd) for x in days if (odd := x.state.suspicious) and not x.state.everywhere]
    if not found:
        return None
    appids = tuple(dict.fromkeys(x.appid for x, _ in found))
    datasets = tuple(dict.fromkeys(x.dataset for x, _ in found))
    begin = min(calendar.oldest(odd) for _, odd in found)
    end = max(calendar.newest(odd) for _, odd in found)
    named = appids if len(appids) <= MAX_NAMED else ()
    inside = calendar.day_range(begin, end)
    asked = [x for x in days if x.dataset in datasets and (not named or x.appid in named)]
    return SuspiciousGaps(
        days=sum(calendar.count_days(odd) for _, odd in found),
        ranges=sum(1 for _, odd in found for _ in calendar.day_ranges(odd)),
        accounts=len(appids),
        appids=named,
        datasets=datasets if {x.dataset for x in days} - {*datasets} else (),
        begin=begin,
        end=end,
        requests=sum(count_windows((x.missing | x.state.empty) & inside, *x.cut) for x in asked),
    )
