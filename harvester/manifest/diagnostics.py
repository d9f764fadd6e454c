"""The list every reader of a manifest writes its findings to.

A manifest is judged whole: readers add what they find and go on with the rest. What a message
repeats of the user's text passes `harvester.core.references.shown`, because a secret pasted into
the wrong place must not be printed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from harvester.core.calendar import Day
from harvester.core.errors import Place, Problem
from harvester.core.references import shown

INVALID: Final = object()
"""Placeholder of a value that was reported already, so that it is not reported again."""

Step = str | int
"""A key of a mapping or an index of a list."""


class Where(Protocol):
    """Tells where a part of a value stands: the part itself, or the key that names it."""

    def __call__(self, loc: Sequence[Step] = (), /, *, key: bool = False) -> Place:
        """The place of what lies that way; of the last that is there, if something is missing."""
        ...


class Diagnostics:
    """What is wrong so far. ``found`` is in the order of finding; `ManifestError` sorts."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, place: Place, what: str, hint: str = "") -> None:
        """Add one mistake."""
        self.found.append(Problem(place, what, hint))


@dataclass(slots=True)
class LoadContext:
    """One loading of a manifest: what it may look at, and what it found out so far.

    ``followed`` are the references that were looked up. ``loose`` holds the appids and tags of
    accounts that have mistakes: a job that names one is not mistaken itself. ``blind`` says that
    accounts could not be read at all.
    """

    folder: Path
    environ: Mapping[str, str]
    today: Day
    mistakes: Diagnostics = field(default_factory=Diagnostics)
    followed: dict[str, None] = field(default_factory=dict)
    loose: set[str] = field(default_factory=set)
    blind: bool = False


def named(key: str) -> str:
    """Return a key as messages call it. It may be the user's own word, even a secret."""
    return shown(key).strip() or "a value"


_MANY = 200
_LONGEST_WORD = 60


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word most like this one, or nothing if none is."""
    pool = list(known)
    if len(word) > _LONGEST_WORD:
        return ""
    if len(pool) > _MANY:
        half = max(len(word) // 2, 1)
        head, tail = word[:half], word[-half:]
        pool = [one for one in pool if one.startswith(head) or one.endswith(tail)][:_MANY]
    close = difflib.get_close_matches(word, pool, n=1)
    return f"did you mean `{close[0]}`?" if close else ""
