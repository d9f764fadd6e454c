"""Problems of troubles that pass: when they appear, again while they last, and when they are gone.

A run under way tries again by itself, so the words say what fails and not what is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from harvester.catalogue.error_codes import Action
from harvester.core.model import Refusal
from harvester.core.text.safe_text import safe_text
from harvester.runs.record.events import (
    MAX_ACCOUNTS,
    REPEAT_SECONDS,
    Cause,
    Problem,
    Stamp,
)
from harvester.runs.record.prospects import comes_at_text
from harvester.scheduling.troubles import Trouble, TroubleKey, Troubles

QUIET_SECONDS = 10.0
"""A trouble is gone when calls were answered and none met it for so long."""


@dataclass(slots=True)
class _Told:
    """Record of the last time that a trouble was told: when, and with how many attempts.

    ``answered`` counts the answers of the run when it was met last, as far as is known.
    """

    at: float
    attempts: int
    answered: int
    is_open: bool = True


class OpenTroubles:
    """The troubles of a run as they were told last."""

    def __init__(self) -> None:
        self._told: dict[TroubleKey, _Told] = {}

    def changes(self, troubles: Troubles, answered: int, stamp: Stamp) -> Iterator[Problem]:
        """Yield new troubles, those that go on, a minute after they were told, and those gone.

        ``answered`` counts the answers of the run so far.
        """
        for key, trouble in troubles.found.items():
            told = self._told.get(key)
            if told is None:
                self._told[key] = _Told(stamp.time, trouble.attempts, answered)
                yield _problem(trouble, stamp)
            elif told.attempts != trouble.attempts:
                if stamp.time - told.at >= REPEAT_SECONDS:
                    was_open, told.is_open = told.is_open, True
                    told.at, told.attempts, told.answered = stamp.time, trouble.attempts, answered
                    yield _problem(trouble, stamp, repeated=was_open)
                else:
                    told.answered = answered if _is_recent(trouble, stamp) else told.answered
                    yield from _if_gone(trouble, told, answered, stamp)
            else:
                yield from _if_gone(trouble, told, answered, stamp)


def _is_recent(trouble: Trouble, stamp: Stamp) -> bool:
    return stamp.time - trouble.last_at < QUIET_SECONDS


def _if_gone(trouble: Trouble, told: _Told, answered: int, stamp: Stamp) -> Iterator[Problem]:
    if told.is_open and answered > told.answered and not _is_recent(trouble, stamp):
        told.is_open, told.attempts = False, trouble.attempts
        yield _problem(trouble, stamp, resolved=True)


def _problem(
    trouble: Trouble, stamp: Stamp, *, repeated: bool = False, resolved: bool = False
) -> Problem:
    rule, why = trouble.rule, trouble.why
    cause = _cause(trouble)
    return Problem(
        *stamp,
        cause,
        safe_text(f"{rule.meaning}: {why}"),
        rule.advice,
        rule.scope.value,
        accounts=tuple(islice(trouble.accounts, MAX_ACCOUNTS)),
        count=len(trouble.accounts),
        attempts=trouble.attempts,
        errcode=why.errcode if isinstance(why, Refusal) else None,
        retry_at=None if resolved else comes_at_text(cause, stamp.time),
        repeated=repeated,
        resolved=resolved,
    )


def _cause(trouble: Trouble) -> Cause:
    if trouble.rule.action is Action.SLOW_DOWN:
        return "minute_limit"
    if trouble.rule.action is Action.HOST_DOWN:
        return "unreachable"
    return "foreign_page" if trouble.rule.is_local else "no_answer"
