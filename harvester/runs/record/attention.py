"""Attention: what needs a person, because no later run ends it by itself.

Every item has a stable key, so that one alert is sent for it. The records of earlier runs say since
when it lasts. See docs/decisions/0049-attention.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

from harvester.core.exit_codes import Outcome

MAX_FORMER = 500
"""Maximum earlier run records that are read for the beginning of a trouble. They cover a day of
runs every three minutes, or of sixty shards every three hours."""

ENDS_EARLY = {"store", "locked", "lease", "unanswered", "died", "memory"}
"""Reasons of a run that an error ended before it had asked for all that it wanted."""

_TOLD_NOTHING = {None, Outcome.STOPPED, Outcome.BUG, Outcome.INVALID}


@dataclass(frozen=True, slots=True)
class AccountLabel:
    """An account, as the manifest labels it."""

    appid: str
    name: str = ""
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attention:
    """A trouble that needs a person.

    ``key`` stays the same from run to run. ``accounts`` and ``datasets`` are all that have the
    trouble; empty if it concerns the whole run. ``since`` is when the first run that had it began
    (RFC 3339 in UTC), empty if no record tells, and ``new`` is True in that run alone.
    ``errcode`` is None without an answer of WeChat's.
    """

    key: str
    cause: str
    advice: str
    accounts: tuple[AccountLabel, ...] = ()
    datasets: tuple[str, ...] = ()
    errcode: int | None = None
    since: str = ""
    new: bool = True


@dataclass(frozen=True, slots=True)
class FormerRun:
    """The part of an earlier run record about attention. ``started_at`` is RFC 3339 in UTC."""

    started_at: str
    state: str
    outcome: str | None
    manifest: str = ""
    shard: str | None = None
    selection: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    attention: tuple[Attention, ...] = ()
    verb: str = "run"

    @property
    def scope(self) -> tuple[str, ...]:
        """The scope of the run; see `scope_of`."""
        return scope_of(self.manifest, self.shard, self.selection)

    @property
    def is_whole(self) -> bool:
        """True if the run came to its own end, so that it met all trouble that there was."""
        cut_short = {"time_budget", *ENDS_EARLY} & {*self.reasons}
        return self.outcome not in _TOLD_NOTHING and not cut_short


def scope_of(manifest: str, shard: str | None, selection: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the scope of a run: the name of its manifest, its shard and its selection.

    Not the folder of the manifest, which may be another one on each runner. Two runs of the same
    scope meet the same trouble.
    """
    return PurePath(manifest).name, shard or "", *sorted(map(str, selection.items()))


def since_when(
    found: Iterable[Attention], known: Mapping[str, Attention], now: str = ""
) -> Iterator[Attention]:
    """Yield the items as old and as new as the ``known`` ones by key; others began ``now``."""
    for item in found:
        told = known.get(item.key, item)
        yield replace(item, since=told.since or now, new=told.new)


def until(former: Iterable[FormerRun], tells: Callable[[FormerRun], bool]) -> Iterator[FormerRun]:
    """Yield earlier runs up to the last one that ``tells`` what is to be known."""
    for run in former:
        yield run
        if tells(run):
            return


def labelled(found: Iterable[Attention], labels: Mapping[str, AccountLabel]) -> Iterator[Attention]:
    """Yield the items with the labels of their accounts, which are by appid."""
    for item in found:
        accounts = tuple(labels.get(each.appid, each) for each in item.accounts)
        yield replace(item, accounts=accounts)


def in_order(found: Iterable[Attention]) -> tuple[Attention, ...]:
    """Return one item for each key, new ones first.

    Items with one key are joined: the advice is that of the first, and the time that of the oldest.
    """
    alike: defaultdict[str, list[Attention]] = defaultdict(list)
    for item in found:
        alike[item.key].append(item)
    return tuple(sorted(map(joined, alike.values()), key=lambda item: (not item.new, item.key)))


def joined(items: list[Attention]) -> Attention:
    """Return one item of several with the same key, with the accounts and datasets of all."""
    labels = {label.appid: label for item in items for label in item.accounts}
    return replace(
        items[0],
        accounts=tuple(label for _, label in sorted(labels.items())),
        datasets=tuple(sorted({name for item in items for name in item.datasets})),
        since=min(item.since for item in items),
        new=all(item.new for item in items),
    )
