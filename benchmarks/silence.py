"""Mornings through silences of WeChat's: days that the output lacks, each morning and for good.

60 accounts, 10 datasets and 150 mornings take about five minutes. Beside that life there are one
without guides, a backfill without faults, and short stories of one silence each.
``python -m benchmarks.silence BEFORE.json AFTER.json`` puts two builds side by side: two files of
the option ``--json``, or two reports of `tests.support.silent_year`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.result import Limit, Result, Settings, Table, markdown
from tests.support.silent_life import UNGUIDED

Report = dict[str, Any]

LACKING, LOST = 5_000, 0
GROUPS = ("within the ages", "after the last age", "old", "open")
"""Groups of days that lack their rows at the end; only the first could have been known."""

ESTABLISHED = {
    "story": "established",
    "accounts": 10,
    "days": 1,
    "backfill": 365,
    "begin": "2026-12-01",
}


def run(settings: Settings) -> Result:
    """Live all lives, one after another."""
    size = {"accounts": 8, "days": 45} if settings.quick else {}
    old = {**ESTABLISHED, "accounts": 2} if settings.quick else ESTABLISHED
    lives = {
        "whole": lived(settings, **size),
        "unguided": lived(settings, datasets=UNGUIDED, **size),
        "established": lived(settings, **old),
    }
    scenes = json.loads(_output_of("silence_scenes"))
    figures = {**lives, "scenes": scenes}
    tables = (*_tables([figures]), _scenes([figures]))
    return Result("silence", tables, tuple(_limits(lives)), figures)


def lived(settings: Settings, **scope: Any) -> Report:
    """Return the report of a life; one line per day goes to stderr meanwhile."""
    given = json.dumps({**scope, "folder": str(settings.folder)})
    found: Report = json.loads(_output_of("silent_year", given))
    return found


def _output_of(name: str, *arguments: str) -> bytes:
    command = [sys.executable, "-m", f"tests.support.{name}", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def _limits(lives: dict[str, Report]) -> Iterator[Limit]:
    whole = lives["whole"]
    yield Limit("account-days lacking", whole["lacking"], "", LACKING)
    yield Limit(
        "account-days lost within their ages", whole["lost_by_group"].get(GROUPS[0], 0), "", 0
    )
    for name, life in lives.items():
        yield Limit(f"runs with a bug, {name}", life["bugs"], "", 0, 0)
        yield Limit(f"rows too many, {name}", life["rows_extra"], "", 0, 0)


# Tables: a column for each build.


def _tables(builds: list[Report]) -> Iterator[Table]:
    for name in ("whole", "unguided", "established"):
        lives = [each[name] for each in builds if name in each]
        if len(lives) < len(builds):
            continue
        scope = lives[0]["scope"]
        title = (
            f"{name}: {scope['accounts']} accounts × {len(scope['datasets'])} datasets ×"
            f" {scope['days']} mornings and {scope['backfill']} days before, seed {scope['seed']}"
        )
        yield _table(title, lives, _figures)
        if name != "established":
            yield _table("Account-days lacking, and of these under 0", lives, _lacking)
            yield _table("Account-days lost for good", lives, _lost)
        yield _table("Calls, and of these without news", lives, _calls)


def _table(title: str, lives: list[Report], figures: Any) -> Table:
    """Return a table with a row for each figure that any of the lives has."""
    columns = [figures(life) for life in lives]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [(name, *(column.get(name, "0") for column in columns)) for name in names]
    return Table(title, ("", *_builds(lives)), tuple(rows))


def _builds(lives: list[Report]) -> tuple[str, ...]:
    return ("account-days",) if len(lives) == 1 else ("before", "after")


def _figures(life: Report) -> dict[str, str]:
    codes = ", ".join(f"{code} × {many}" for code, many in sorted(life["codes"].items()))
    lacking, ended = life["mornings_under_0"]
    calls, news = life["calls"], life["news"]
    return {
        "exit codes": codes,
        "lacking, over all mornings": f"{life['lacking']:,}",
        "of these under 0": f"{life['lacking_under_0']:,}",
        "mornings with 0 that lack days": f"{lacking} of {ended}",
        "not counted: no whole run since": f"{life['excused']:,}",
        **{f"at the end: {group}": f"{life['lost_by_group'].get(group, 0):,}" for group in GROUPS},
        "rows of partial hours, at the end": f"{life['rows_missing'].get('partial hours', 0):,}",
        "rows with old numbers": f"{life['rows_wrong'].get('corrected', 0):,}",
        "calls": f"{calls:,}",
        "calls without news": f"{calls - news:,} ({1 - news / max(1, calls):.1%})",
        "calls of the first run": f"{life['calls_first']:,}",
        "calls of the mornings after": f"{life['calls_later']:,}",
        "seconds": f"{life['seconds']:,.0f}",
    }


def _lacking(life: Report) -> dict[str, str]:
    return {
        name: f"{many:,} ({under_0:,})"
        for part in ("by_kind", "by_dataset")
        for name, (many, under_0) in sorted(life[part].items())
    }


def _lost(life: Report) -> dict[str, str]:
    return {
        name: ", ".join(f"{groups[group]:,} {group}" for group in GROUPS if group in groups)
        for part in ("lost_by_kind", "lost_by_dataset")
        for name, groups in sorted(life[part].items())
    }


def _calls(life: Report) -> dict[str, str]:
    return {
        name: f"{many:,} ({many - news:,})"
        for name, (many, news) in life["calls_by_dataset"].items()
    }


def _scenes(builds: list[Report]) -> Table:
    """Return the exit code and the missing rows of the first runs of each story."""
    found = [each.get("scenes", {}) for each in builds]
    rows = [
        (name.replace("_", " "), *(_mornings(each[name]) for each in found)) for name in found[0]
    ]
    return Table("Exit code and rows missing, run by run", ("", *_builds(builds)), tuple(rows))


def _mornings(mornings: list[Report]) -> str:
    """Return the first mornings and the last one."""
    said = [f"{each['exit_code']}: {each['missing']:,}" for each in mornings]
    shown = said if len(said) <= 8 else [*said[:7], "…", said[-1]]
    return ", ".join(shown)


def main() -> None:
    """Print the files of two builds side by side."""
    builds = [_read(Path(name)) for name in sys.argv[1:3]]
    sys.stdout.write("\n".join(map(markdown, (*_tables(builds), _scenes(builds)))))


def _read(path: Path) -> Report:
    """Return the figures of a file; a report of one life is that of the whole one."""
    found: Report = json.loads(path.read_text("utf-8"))
    if "benchmarks" not in found:
        return {"whole": found}
    figures: Report = found["benchmarks"]["silence"]["figures"]
    return figures


if __name__ == "__main__":
    main()
