"""Requests that a next run would make, by what it asks again: the price of the commands to type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from harvester.core import calendar
from harvester.core.calendar import DaySet
from harvester.core.config.settings import Manifest
from harvester.core.windows import count_windows
from harvester.planning.wanted_days import Wanted, each_missing
from harvester.storage.account_scan import States
from harvester.storage.coverage_scan import Refetch, gaps, to_ask

_States: TypeAlias = dict[str, dict[str, States]]

MAX_NAMED = 5
"""Accounts that a command names. Of more the command names none and asks all."""


class OddDays(NamedTuple):
    """The narrowest selection that has all suspicious days, and the ``requests`` to ask it again.

    ``appids`` names the accounts if they are few, and ``datasets`` theirs if there are others.
    """

    appids: tuple[str, ...]
    datasets: tuple[str, ...]
    begin: calendar.Day
    end: calendar.Day
    requests: int


class NextRequests(NamedTuple):
    """Requests of a next run, without retries.

    ``missing`` are for the missing days, which every run asks, and ``quarantined`` for these and
    the quarantined ones. ``odd_days`` are empty between days with rows, in ``odd_accounts``. What
    asks them again is ``odd``, None if that is not known.
    """

    missing: int = 0
    quarantined: int = 0
    odd_days: int = 0
    odd_accounts: int = 0
    odd: OddDays | None = None


NO_REQUESTS = NextRequests()


def next_requests(manifest: Manifest, want: Wanted, states: _States) -> NextRequests:
    """Count the requests of a run that begins now, by what it asks again."""

    def price(wanted: Wanted, refetch: Refetch | None = None) -> int:
        asked = each_missing(manifest, to_ask(states, wanted, refetch))
        return sum(count_windows(days, dataset.span) for dataset, _, days in asked)

    # While a dataset is empty everywhere, asking it again brings nothing.
    found = {key: odd for key, odd in gaps(states).items() if not states[key[0]][key[1]].everywhere}
    return NextRequests(
        price(want),
        price(want, "quarantined"),
        sum(map(calendar.count_days, found.values())),
        len({appid for _, appid in found}),
        _odd_days(want, found, price) if found else None,
    )


def merged_requests(one: NextRequests, other: NextRequests) -> NextRequests:
    """Return the requests of a next run over the accounts of two shards."""
    found = [part.odd for part in (one, other) if part.odd_days]
    # What a selection costs that lies in several shards no shard alone can say.
    is_known = len(found) == 1 and found[0] is not None and found[0].appids
    return NextRequests(
        one.missing + other.missing,
        one.quarantined + other.quarantined,
        one.odd_days + other.odd_days,
        one.odd_accounts + other.odd_accounts,
        found[0] if is_known else None,
    )


def _odd_days(
    want: Wanted, found: Mapping[tuple[str, str], DaySet], price: Callable[[Wanted, Refetch], int]
) -> OddDays:
    """Return the narrowest selection that has all days of ``found``, with its price."""
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
    some = datasets if any(others) else ()
    return OddDays(named, some, begin, end, price(asked, "empty"))
