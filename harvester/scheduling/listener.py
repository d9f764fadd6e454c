"""Listener of a scheduler: hears what is given up, owed again, or tried again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from harvester.catalogue.error_codes import Rule
from harvester.core.calendar import Day
from harvester.core.model import Refusal


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


class Listener(Protocol):
    """Functions that are called where something happens, and return at once."""

    def on_abandoned(self, days: AbandonedDays) -> None:
        """Hear of days that are given up."""

    def on_reopened(self, days: Sequence[AbandonedDays]) -> None:
        """Hear of days that are given up no longer, or for another cause."""

    def on_trouble(self, rule: Rule, why: Refusal | str, appid: str) -> None:
        """Hear of an attempt that failed for a passing cause."""


class Silence:
    """A listener that does nothing."""

    def on_abandoned(self, days: AbandonedDays) -> None:
        """Do nothing."""

    def on_reopened(self, days: Sequence[AbandonedDays]) -> None:
        """Do nothing."""

    def on_trouble(self, rule: Rule, why: Refusal | str, appid: str) -> None:
        """Do nothing."""


SILENCE = Silence()
