"""Causes of an incomplete run: refusals, failures and quarantined days, grouped into few lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from harvester.core.calendar import Day, day_text
from harvester.core.model import Refusal
from harvester.core.text.inert_text import named
from harvester.core.text.safe_text import safe_text
from harvester.runs.record.summary import Summary
from harvester.scheduling.account_queue import AbandonedDays
from harvester.storage.publication import QuarantinedDay

_SHOWN = 3
"""Maximum accounts or days that are named; the run record names all of them."""


class Cause(NamedTuple):
    """Days lost for one reason: their number, their accounts, an example of the reason, advice."""

    days: int
    whose: str
    why: str
    advice: str = ""


def causes(summary: Summary, names: Mapping[str, str]) -> list[Cause]:
    """Return refusals and failures, those with the most days first, then quarantined days.

    ``names`` are those of the accounts, by appid.
    """
    refused = sorted(_abandoned(summary.abandoned, names), key=lambda cause: -cause.days)
    return [*refused, *_quarantined(summary.quarantined, names)]


def _abandoned(abandoned: Iterable[AbandonedDays], names: Mapping[str, str]) -> Iterator[Cause]:
    alike: defaultdict[tuple[object, ...], list[AbandonedDays]] = defaultdict(list)
    for item in abandoned:
        # The same code is one cause whatever its message says, which has a rid in it.
        said = item.why.errcode if isinstance(item.why, Refusal) else item.rule.meaning
        alike[said, item.rule.meaning, item.rule.action].append(item)
    for items in alike.values():
        first = items[0]
        yield Cause(
            sum(item.count for item in items),
            _subject(items, names),
            str(first.why),
            f"{first.rule.meaning}. {first.rule.advice}",
        )


def _quarantined(days: Iterable[QuarantinedDay], names: Mapping[str, str]) -> Iterator[Cause]:
    alike: defaultdict[str, list[QuarantinedDay]] = defaultdict(list)
    for item in days:
        alike[item.reason].append(item)
    for reason, items in sorted(alike.items(), key=lambda pair: -len(pair[1])):
        subject = _subject(items, names)
        when = _days_text({item.day for item in items})
        yield Cause(len(items), f"{subject} {when}", f"quarantined: {safe_text(reason)}")


def _days_text(found: set[Day]) -> str:
    """List the days, oldest first; of many name the first and the last."""
    if len(found) <= _SHOWN:
        return ", ".join(map(day_text, sorted(found)))
    return f"{day_text(min(found))}..{day_text(max(found))}"


def _subject(items: Sequence[AbandonedDays | QuarantinedDay], names: Mapping[str, str]) -> str:
    """Name the accounts and datasets: ``3 accounts (wx… Acme, wx…, wx…), 2 datasets``."""
    appids = list(dict.fromkeys(item.appid for item in items))
    datasets = list(dict.fromkeys(item.dataset for item in items))
    shown = ", ".join(named(appid, names.get(appid, "")) for appid in appids[:_SHOWN])
    if len(appids) > 1:
        more = f" and {len(appids) - _SHOWN:,} more" if len(appids) > _SHOWN else ""
        shown = f"{len(appids):,} accounts ({shown}{more})"
    what = datasets[0] if len(datasets) == 1 else f"{len(datasets)} datasets"
    return f"{shown}, {what}"
