"""Phrases that several answers use: lists, moments and durations as text."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from harvester.core.exit_codes import Outcome
from harvester.core.text.wording import Message, and_more, said, word
from harvester.verbs.progress import duration_text

VERDICTS = {
    Outcome.COMPLETE: said("everything wanted is covered"),
    Outcome.UNFINISHED: said("a later run can obtain more"),
    Outcome.PARTIAL: said("finished, but some wanted days could not be obtained"),
    Outcome.UNAUTHORISED: said("no account could be authorised"),
    Outcome.STOPPED: said("what was harvested is safe"),
    Outcome.INVALID: said("a mistake in the manifest or the options; nothing was requested"),
    Outcome.BUG: said("an internal error, or an output that fails; what was harvested is safe"),
}
"""Meaning of each outcome of a run."""

_BEIJING = dt.timezone(dt.timedelta(hours=8))


def listed(items: Iterable[str], shown: int = 3) -> Message:
    """Return the first items of a list, and how many more there are."""
    every = list(items)
    return and_more(every[:shown], len(every))


def with_code(kind: str, name: str, errcode: int | None) -> Message:
    """Return a word of a kind, a cause or a reason, with WeChat's code if there is one."""
    found = word(kind, name)
    return found if errcode is None else said("{word} ({code})", word=found, code=errcode)


def days_text(first: dt.date, last: dt.date) -> str:
    """Write the days between two, as ``2024-01-31`` or ``2024-01-01..2024-01-31``."""
    return str(first) if first == last else f"{first}..{last}"


def seconds_text(seconds: float) -> Message:
    """Write a duration as `duration_text` does, but seconds with a decimal: 9.4 s."""
    if seconds < 120:
        return said("{seconds:.1f} s", seconds=seconds)
    return duration_text(seconds)


def minute_texts(moment: float, zone: dt.tzinfo | None = None) -> tuple[str, str]:
    """Write a moment in a zone and in Beijing's time. By default it is the zone of this machine.

    ``moment`` is in seconds since the Unix epoch. Both texts are of the next full minute, because
    none may be earlier than the moment.
    """
    whole = dt.datetime.fromtimestamp(-(-moment // 60) * 60, dt.UTC)
    here, beijing = (f"{whole.astimezone(each):%Y-%m-%d %H:%M}" for each in (zone, _BEIJING))
    return here, beijing
