"""Mornings of a silent life: the real runs, and what the output lacks after each of them.

``python -m tests.support.silent_year '{"accounts": 8, "days": 45}'`` lives a `Scope` and prints its
report as JSON. It has the same faults whatever the product asks, so that two builds can be
compared.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day, day_text
from harvester.core.config.settings import Output
from harvester.storage.layout import open_tree
from tests.support.life_report import Comparison, RunReport
from tests.support.life_stories import Scope, Trouble
from tests.support.lived_year import Year, in_child
from tests.support.silence_watch import ChangedFiles, Lost, Watch, masks_of
from tests.support.silent_life import SILENT, SilentLife

_MAX_LISTED = 40
USUAL: dict[str, Any] = {
    "story": "silence",
    "accounts": 60,
    "days": 150,
    "datasets": SILENT,
    "backfill": 60,
    "settling": tuple(range(1, 46)),
}
"""The members of the scope that are not given."""


class SilentYear(Year):
    """An output that a run of each morning keeps whole, and a watch over what it lacks."""

    def __init__(self, scope: Scope, root: Path) -> None:
        super().__init__(scope, root)
        life = self.story.life
        assert isinstance(life, SilentLife)
        self.life, self.watch = life, Watch(scope, life)
        self._files = ChangedFiles(root)

    def _day(self, day: Day, trouble: Trouble, end: Day | None = None) -> None:
        if not trouble.is_skipped:
            super()._day(day, trouble, end)
            changed = self._files.take()
            if changed:
                self.watch.read(in_child(partial(self._masks, changed)))
        if end is None:
            report = None if trouble.is_skipped else self.reports[-1]
            self.watch.look(day, trouble, report)

    def _masks(self, changed: list[Path], _: object) -> Any:
        return masks_of(open_tree(Output(self.root)), self.root, changed)

    def _take(self, report: RunReport) -> None:
        self.watch.hear(report)
        super()._take(report)


def live(
    scope: Scope, folder: str | None = None, tell: Callable[[str], object] = lambda _: None
) -> dict[str, Any]:
    """Live a scope in a temporary folder, and return its report as plain data."""
    with tempfile.TemporaryDirectory(prefix="silence-", dir=folder) as root:
        began = time.perf_counter()
        year = SilentYear(scope, Path(root))
        year.live(tell)
        report = _report(year, year.compared())
        return {**report, "seconds": time.perf_counter() - began}


def _report(year: SilentYear, compared: Comparison) -> dict[str, Any]:
    watch, last = year.watch, year.scope.last
    lost = [*watch.lost()]
    daily = [each.counts for each in year.news if each.day <= last]
    later = [each.counts for each in year.news if each.day > last]
    under_0 = [many for _, code, many in watch.mornings if code == "0"]
    return {
        "scope": asdict(year.scope),
        "codes": dict(Counter(code for _, code, _ in watch.mornings)),
        "bugs": sum("bug" in each.reasons for each in year.reports),
        "lacking": sum(watch.lacking.values()),
        "lacking_under_0": sum(under_0),
        "mornings_under_0": [sum(map(bool, under_0)), len(under_0)],
        "excused": watch.excused,
        "by_kind": _split(watch, 0),
        "by_dataset": _split(watch, 1),
        "by_both": [[*key, many] for key, many in sorted(watch.lacking.items())],
        "lost": sum(each.group != "open" for each in lost),
        "lost_by_group": dict(Counter(each.group for each in lost)),
        "lost_by_kind": _nested((each.kind, each.group) for each in lost),
        "lost_by_dataset": _nested((each.dataset, each.group) for each in lost),
        "within": [_named(each) for each in lost if each.group == "within the ages"][:_MAX_LISTED],
        "calls": sum(each.get("calls", 0) for each in daily),
        "news": sum(each.get("news", 0) for each in daily),
        "calls_later": sum(each.get("calls", 0) for each in later),
        "calls_first": daily[0]["calls"],
        "calls_by_dataset": {
            name: [sum(each.get(word, 0) for each in daily) for word in (name, f"{name} news")]
            for name in year.scope.datasets
        },
        "rows": compared.rows,
        "rows_missing": _rows(year, compared, "lost"),
        "rows_wrong": _rows(year, compared, "wrong"),
        "rows_extra": compared.extra,
        "mornings": [[day_text(day), code, many] for day, code, many in watch.mornings],
        "runs": [
            [day_text(each.day), each.exit_code, [*each.reasons], each.requests, round(each.cpu, 3)]
            for each in year.reports
        ],
    }


def _split(watch: Watch, place: int) -> dict[str, list[int]]:
    """Return the account-days that were lacking by a part of their key, and those under 0."""
    found: dict[str, list[int]] = {}
    for key, many in watch.lacking.items():
        counts = found.setdefault(str(key[place]), [0, 0])
        counts[0] += many
        counts[1] += many * key[2]
    return found


def _nested(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (outer, inner), many in Counter(pairs).items():
        found.setdefault(outer, {})[inner] = many
    return found


def _named(lost: Lost) -> list[Any]:
    first = None if lost.first is None else lost.first - lost.day
    return [lost.dataset, lost.appid, day_text(lost.day), lost.kind, first, lost.since - lost.day]


def _rows(year: SilentYear, compared: Comparison, which: str) -> dict[str, int]:
    """Return the rows that are lost or wrong at the end, by what became of their day."""
    found: Counter[str] = Counter()
    whole = {(each.dataset, each.appid, each.day) for each in year.watch.lost()}
    for each in getattr(compared, which):
        key = each.dataset, each.appid, each.day
        if key in whole:
            found["whole days"] += each.rows
        elif year.life.is_partial(*key):
            found["partial hours"] += each.rows
        elif year.life.corrected_at(*key) <= year.life.until:
            found["corrected"] += each.rows
        else:
            found["other"] += each.rows
    return dict(found)


def scope_of(given: dict[str, Any]) -> Scope:
    """Return a scope of plain data; what is left out is that of the whole life."""
    lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    found = Scope(**{**USUAL, **given, **lists})
    unknown = {*found.datasets} - {*CATALOGUE}
    if unknown:
        raise ValueError(f"no such dataset: {unknown}")
    return found


def main() -> None:
    """Live the scope of the first argument."""
    given = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    folder = given.pop("folder", None)

    def tell(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    sys.stdout.write(json.dumps(live(scope_of(given), folder, tell)))


if __name__ == "__main__":
    main()
