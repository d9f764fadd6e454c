"""Results of a benchmark: tables to read, and limits that must hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Settings:
    """The thoroughness of a benchmark and its working folder.

    ``folder`` is for outputs and manifests, on the disk that is to be measured. ``engineer`` is the
    Python that has pandas.
    """

    folder: Path
    quick: bool = False
    rounds: int = 5
    engineer: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure, what we aim at, and the line that must hold. Smaller is always better.

    ``must`` is None for a figure that only has a goal.
    """

    what: str
    value: float
    unit: str
    goal: float
    must: float | None = None

    @property
    def holds(self) -> bool:
        """True if the line holds."""
        return self.must is None or self.value <= self.must

    @property
    def verdict(self) -> str:
        """The outcome in one word."""
        if not self.holds:
            return "BROKEN"
        return "ok" if self.value <= self.goal else "short of the goal"


@dataclass(frozen=True, slots=True)
class Table:
    """Headers and rows of text; the first column is aligned left, all others right."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark's findings. ``figures`` has every measurement, for the JSON file."""

    name: str
    tables: tuple[Table, ...]
    limits: tuple[Limit, ...]
    figures: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The limits and the figures, without what is there only to be read."""
        limits = [{**asdict(limit), "verdict": limit.verdict} for limit in self.limits]
        return {"limits": limits, "figures": self.figures}


def limits_table(results: list[Result]) -> Table:
    """All limits of all benchmarks."""
    rows = (
        (
            f"{result.name}: {limit.what}",
            _figure(limit.value, limit.unit),
            _figure(limit.goal, limit.unit),
            "-" if limit.must is None else _figure(limit.must, limit.unit),
            limit.verdict,
        )
        for result in results
        for limit in result.limits
    )
    return Table("Limits", ("", "measured", "goal", "must hold", ""), tuple(rows))


def _figure(value: float, unit: str) -> str:
    digits = 0 if float(value).is_integer() or value >= 100 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def markdown(table: Table) -> str:
    """The table as Markdown, padded so that a terminal shows it as well."""
    lines = [table.headers, *table.rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.headers))]
    rule = [f"{'-' * (width - 1)}{':' if place else '-'}" for place, width in enumerate(widths)]
    padded = ["| " + " | ".join(_padded(line, widths)) + " |" for line in lines]
    padded.insert(1, "| " + " | ".join(rule) + " |")
    return "\n".join([f"### {table.title}", "", *padded, ""])


def _padded(line: tuple[str, ...], widths: list[int]) -> Iterator[str]:
    for place, (text, width) in enumerate(zip(line, widths, strict=True)):
        yield text.rjust(width) if place else text.ljust(width)
