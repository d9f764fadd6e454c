"""Comparison of answers with the catalogue: findings without a value of the account."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from harvester.core.model import Refusal
from harvester.core.rule import Action
from harvester.core.text.inert_text import inert
from harvester.engine.lone_calls import Outcome
from harvester.tables import decode
from tools.live_check.calls import Call, Purpose
from tools.live_check.shapes import shape_of, without_ids

_OF_DATES = frozenset({61500, 61501, 61503})

_EXPECTED = {
    Purpose.TOO_LONG: frozenset({61501}),
    Purpose.TOO_EARLY: frozenset({61501}),
    Purpose.NOT_OVER: frozenset({61501, 61503}),
}
"""Errcodes that a call must be refused with."""

_ANOTHER_TIME = (Action.RETRY, Action.RETRY_NOW, Action.SLOW_DOWN, Action.WAIT_FOR_QUOTA)
"""Actions after refusals that say nothing about the question."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a call. ``differences`` are from the catalogue, ``notes`` are not."""

    call: Call
    errcode: int | None = None
    errmsg: str = ""
    rows: int = 0
    shape: dict[str, dict[str, int]] | None = None
    is_answered: bool = True
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return the finding for the report; the account is not named."""
        return {
            "dataset": self.call.dataset.name,
            "api": self.call.dataset.api,
            "purpose": self.call.purpose.value,
            "days": self.call.days,
            "errcode": self.errcode,
            "errmsg": self.errmsg,
            "rows": self.rows,
            "differences": list(self.differences),
            "notes": list(self.notes),
            "shape": self.shape,
        }


def finding_of(call: Call, outcome: Outcome) -> Finding:
    """Compare an outcome with what the catalogue says."""
    if isinstance(outcome, bytes):
        return _answered(call, outcome)
    if not isinstance(outcome.why, Refusal):
        return Finding(call, errmsg=without_ids(str(outcome.why)), is_answered=False)
    code, said = outcome.why.errcode, without_ids(outcome.why.errmsg)
    expected = _EXPECTED.get(call.purpose, frozenset())
    found = Finding(call, code, said, is_answered=outcome.rule.action not in _ANOTHER_TIME)
    if code in expected:
        return found
    if code in _OF_DATES:
        named = " or ".join(map(str, sorted(expected))) or "rows"
        return replace(found, differences=(f"refused with {code}, and not {named}",))
    # Of a missing permission, say, which shows nothing about the catalogue.
    return replace(found, notes=(f"refused: {outcome.rule.meaning}",))


def _answered(call: Call, body: bytes) -> Finding:
    found = decode.decoder(call.dataset)(call.window, body)
    rows = sum(map(len, found.days.values()))
    # Not each reason: it repeats a value.
    differences = [f"{len(found.quarantined)} days do not fit"] if found.quarantined else []
    differences += [f"undeclared member {inert(path)}" for path in sorted(found.unknown)]
    differences += [f"no value of {inert(path)}" for path in sorted(found.missing)]
    differences += [f"{odd.kind.value}: {inert(odd.name)}" for odd in found.oddities]
    differences += _not_refused(call, rows)
    notes = ["still being computed (is_delay)"] if found.delayed else []
    notes += [] if rows else ["no rows"]
    return Finding(
        call, rows=rows, shape=shape_of(body), differences=(*differences,), notes=(*notes,)
    )


def _not_refused(call: Call, rows: int) -> Iterator[str]:
    """Tell that WeChat answers what it should refuse; an empty list is a form of not ready."""
    if call.purpose is Purpose.TOO_LONG:
        yield f"a window of {call.dataset.span} days is answered"
    elif rows and call.purpose in _EXPECTED:
        yield f"answered with rows: {call.purpose.value}"
