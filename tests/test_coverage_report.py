"""The report on branches: what it counts, what it lists, and when it fails."""

from __future__ import annotations

from typing import Any

from tests.support import coverage_report
from tests.support.coverage_report import Branch, Room, faults, measured, table
from tests.support.import_graph import MODULES


def report(**missing: list[list[int]]) -> dict[str, Any]:
    """Coverage's JSON in which each module has ten branches, of which these are not taken."""
    return {
        f"harvester/{module.file}": {
            "summary": {
                "num_branches": 10,
                "covered_branches": 10 - len(missing.get(module.path.stem, [])),
            },
            "missing_branches": missing.get(module.path.stem, []),
        }
        for module in MODULES
    }


def test_rooms_add_up_their_modules() -> None:
    """The package is the sum of all, and every branch that is not taken is in its room."""
    rooms = measured(report(merge=[[3, 5], [7, -1]]))
    count = sum(module.room == "tables" for module in MODULES)
    found = rooms["tables"]
    assert (found.branches, found.taken, len(found.missing)) == (10 * count, 10 * count - 2, 2)
    assert {branch.file for branch in found.missing} == {"tables/merge.py"}
    assert rooms["core"].percent == 100.0
    assert sum(room.branches for room in rooms.values()) == 10 * len(MODULES)


def test_each_limit_is_told_with_its_share() -> None:
    """Pure rooms have the higher one; a room without branches is whole."""
    assert list(faults({"core": Room(100, 98, ()), "cli": Room(100, 92, ())})) == []
    assert list(faults({"core": Room(100, 97, ()), "cli": Room(100, 80, ())})) == [
        "97.00% of the branches of the pure rooms are taken, less than 98%",
        "88.50% of the branches of the package are taken, less than 95%",
    ]
    assert Room(0, 0, ()).percent == 100.0


def test_branches_of_pure_rooms_are_listed_with_their_reasons(monkeypatch: Any) -> None:
    """Those of other rooms are counted alone."""
    known = Branch("core/calendar.py", 7, "if never:", -1)
    other = Branch("cli/output/hooks.py", 9, "if None:", 10)
    monkeypatch.setattr(
        coverage_report, "REASONS", {("core/calendar.py", "if never:"): "it never is"}
    )
    lines = list(table({"core": Room(4, 3, (known,)), "cli": Room(4, 3, (other,))}))
    assert lines == [
        "room           branches    taken",
        "core                  4   75.00%",
        "cli                   4   75.00%",
        "pure rooms            4   75.00%",
        "package               8   75.00%",
        "branches of pure rooms that no test takes:",
        "core/calendar.py:7 to the end: if never:\n    it never is",
    ]
