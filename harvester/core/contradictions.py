"""Contradictions: what speaks against an answer being all rows of its window.

WeChat documents ``list`` and ``is_delay``; other APIs of it have ``errcode`` and ``errmsg`` too.
Any other member may say that rows are missing: APIs that answer in pages have ``has_more``,
``next_…`` and totals, a newer version or a proxy may have others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple, Self

from harvester.core.model import OddityKind


class Verdict(Enum):
    """The consequence of a contradiction."""

    NOTED = "noted"
    """None: a member is undeclared, and says nothing against the answer."""
    OPEN = "open"
    """The days of the answer stay provisional until their last age, and it is no witness."""
    FAILED = "failed"
    """The answer is a failure of WeChat's, which may be over when the window is asked again."""
    QUARANTINED = "quarantined"
    """No day of the answer is usable."""


class Contradiction(NamedTuple):
    """One contradiction, in words that are not safe to print.

    ``name`` is the member, column or header that it concerns. ``text`` is the reason of a
    quarantine, else the value of an oddity of this ``kind``.
    """

    verdict: Verdict
    name: str
    text: str = "stands beside the list"
    kind: OddityKind = OddityKind.HINT


class CachedBody(bytes):
    """The body of an answer that a cache on the way had kept for ``age`` seconds."""

    age: int

    def __new__(cls, body: bytes, age: int) -> Self:
        """Return a body with the seconds of its header ``Age``."""
        cached = super().__new__(cls, body)
        cached.age = age
        return cached


_DECLARED = {"list", "is_delay", "errcode"}
_NOTHING: tuple[Any, ...] = (None, False, 0, "", "0", "false", [], {})
_OK = ("ok", "success")
_TOTALS = {"total", "totalcount", "totalnum"}
# Of these a member that is empty, false or 0 says that rows are missing.
_ENDS = {"end", "isend", "islast", "complete", "iscomplete", "finished"}


class Seen(NamedTuple):
    """Facts of an answer beside its members.

    ``repeated`` is a name that an object of it has twice. ``outside`` counts its elements of days
    outside of the window. ``lacking`` are the counts without a value in some row. ``age`` is that
    of a `CachedBody`.
    """

    repeated: str = ""
    outside: int = 0
    lacking: Iterable[str] = ()
    age: int = 0


def contradictions(answer: Mapping[str, Any], seen: Seen) -> Iterator[Contradiction]:
    """Yield the contradictions of a parsed answer that has a list."""
    rows = len(answer["list"])
    for name, value in answer.items():
        if found := _of_member(name, value, rows):
            yield found
    if seen.repeated:
        yield _quarantined(seen.repeated, "a name that comes twice in an object")
    if seen.outside:
        which = "every row lies" if seen.outside == rows else "rows lie"
        yield Contradiction(Verdict.QUARANTINED, "", f"{which} outside the window")
    for name in seen.lacking:
        yield Contradiction(Verdict.OPEN, name, "is missing in rows", OddityKind.MISSING_COUNT)
    if seen.age:
        text = f"of a cache is {seen.age:,} s"
        yield Contradiction(Verdict.OPEN, "Age", text, OddityKind.CACHED)


def failure_in(answer: Mapping[str, Any]) -> str | None:
    """Return the member by which an answer says that it is a failure; None without one."""
    found = contradictions(answer, Seen())
    return next((each.name for each in found if each.verdict is Verdict.FAILED), None)


def _of_member(name: str, value: Any, rows: int) -> Contradiction | None:
    plain = name.replace("_", "").casefold()
    is_nothing = value in _NOTHING
    if plain == "errmsg":
        is_ok = is_nothing or (isinstance(value, str) and value.strip().casefold() in _OK)
        return None if is_ok else Contradiction(Verdict.OPEN if rows else Verdict.FAILED, name)
    if name == "has_more" or name.startswith("next_"):
        more = "an answer that says that there is more"
        return None if is_nothing else _quarantined(name, more)
    is_number = type(value) is int and plain in (*_TOTALS, "count")
    if name in _DECLARED or (is_number and value == rows):
        return None
    if is_number and plain in _TOTALS:
        return _quarantined(name, "an answer that tells another number of rows")
    if is_number or is_nothing is (plain in _ENDS):
        return Contradiction(Verdict.OPEN, name)
    return Contradiction(Verdict.NOTED, name, "", OddityKind.BESIDE_LIST)


def _quarantined(name: str, why: str) -> Contradiction:
    return Contradiction(Verdict.QUARANTINED, name, f"{name}: {why}")
