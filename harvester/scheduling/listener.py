"""News of a scheduler, for a function that hears them: days given up or owed again, trouble."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from harvester.core.calendar import Day
from harvester.core.model import Refusal
from harvester.core.rule import Rule


@dataclass(frozen=True, slots=True)
class AbandonedDays:
    """Days that this run gives up: which, under which rule, and what WeChat or the network said.

    ``begin`` and ``end`` bound the days; ``count`` is how many of them are given up.
    """

    appid: str
    dataset: str
    begin: Day
    end: Day
    count: int
    rule: Rule
    why: Refusal | str


class Reopened(NamedTuple):
    """Days that were given up are owed again, or are given up for another cause."""

    days: tuple[AbandonedDays, ...]


class Troubled(NamedTuple):
    """An attempt failed for a passing cause, and is made again."""

    rule: Rule
    why: Refusal | str
    appid: str


Listener: TypeAlias = Callable[[AbandonedDays | Reopened | Troubled], object]
"""A function that is called where something happens, and returns at once."""
