"""Registry of the scenes: runs of every outcome and cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harvester.sandbox import Rules
from tests.golden_runs.stage import Stage


@dataclass(frozen=True, slots=True)
class Scene:
    """A story to play on a stage; ``loose`` are figures that depend on the moment of a failure.

    ``when`` is the mark of its test: ``"long"``, ``"slow"``, or empty.
    """

    play: Callable[[Stage], None]
    rules: Rules
    loose: frozenset[str]
    when: str
    is_on_spark: bool


SCENES: dict[str, Scene] = {}


def scene(
    *,
    rules: Rules | None = None,
    loose: tuple[str, ...] = (),
    when: str = "",
    is_on_spark: bool = False,
) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Add a function to the scenes, under its own name."""

    def add(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
        name, figures = play.__name__, frozenset(loose)
        SCENES[name] = Scene(play, rules or Rules(), figures, when, is_on_spark)
        return play

    return add
