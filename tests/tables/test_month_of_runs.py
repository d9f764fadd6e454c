"""A month of daily runs over a source in trouble: true in the end, with fewer calls than days."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import duckdb
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import date_of, day_text, parse_day
from harvester.core.dataset import Dataset
from harvester.core.exit_codes import Exit
from tests.support.faulty_wechat import DataFault, Delayed, FaultyRules, Late, Outage, Revised
from tests.support.faulty_wechat import FaultyWeChat as Sandbox
from tests.support.reference_client import Reference
from tests.support.run_harness import RunHarness, days_between, expected, published_rows

BEGIN, END = "2026-04-01", "2026-05-03"
"""Four weeks and a month begin and end within these days."""

FIRST_RUN = parse_day("2026-04-04")

STEADY = ("user_cumulate", "interface_summary")
"""No day of these comes more than hours late."""

OTHERS = tuple(name for name in CATALOGUE if name not in STEADY)

TROUBLES: tuple[DataFault, ...] = (
    Late(share=0.25, minutes=15 * 60),
    Late(share=0.12, days=2, datasets=OTHERS),
    Late(share=0.08, days=1, unready=True, datasets=OTHERS),
    Late(share=0.05, days=3, minutes=9 * 60, datasets=OTHERS),
    Revised(),
    Delayed(share=0.4, days=2),
    Delayed(share=0.1, days=10),
)
"""Rows that come in the afternoon or days later, as an error or as nothing; figures that change
until they are settled; and answers that say they are not complete, some beyond that time."""

OUTAGE_ON = parse_day("2026-04-15")
"""On this day and the next, days are answered as if nothing had happened on them."""

OUTAGES = (Outage(share=0.5, begin=OUTAGE_ON - 2), Outage(datasets=STEADY))
"""Half of all days too young to be final without rows, and any days that had rows before."""


@dataclass
class Month:
    """The two who ask: a harvester over HTTP, and the reference that asks for every open day."""

    lab: RunHarness
    reference: Reference

    def run(self, day: int, minute: int) -> None:
        """Both run at that minute of a Beijing day."""
        self.lab.today, self.lab.minute = day_text(day), minute
        counted = self.lab.calls()
        self.reference.run()
        done = self.lab.run()
        assert done.requests == self.lab.calls() - counted
        assert done.exit_code is (Exit.AGAIN if done.reasons() else Exit.DONE)
        assert {*done.reasons()} <= {"not_ready", "empty_everywhere"}

    def run_all(self, runs: Iterable[tuple[int, int]]) -> None:
        """All of these runs, one after the other."""
        for day, minute in runs:
            self.run(day, minute)

    @property
    def datasets(self) -> list[Dataset]:
        """The datasets of the manifest."""
        return [CATALOGUE[name] for name in self.lab.datasets]

    @property
    def sandboxes(self) -> tuple[Sandbox, Sandbox]:
        """The windows that both of them ask."""
        return self.lab.sandbox, self.reference.sandbox


def month_of(root: Path, accounts: int, names: tuple[str, ...], seed: int = 0) -> Month:
    """A month to simulate, about so many accounts; the seed spreads the troubles."""
    datasets = [CATALOGUE[name] for name in names]
    rules = FaultyRules(data_faults=TROUBLES, seed=seed)
    lab = RunHarness(root, accounts=accounts, begin=BEGIN, end=END, datasets=names, rules=rules)
    first, last = (date_of(parse_day(text)) for text in (BEGIN, END))
    reference = Reference(Sandbox(rules, lab.now), lab.now, datasets, lab.appids, first, last)
    return Month(lab, reference)


def times_of_runs() -> list[tuple[int, int]]:
    """Every morning for a month; some mornings the schedule is skipped, on others runs go twice."""
    found = []
    for number in range(32):
        if number % 10 in {6, 7} or number == 22:
            continue
        minutes = [10 * 60 + 30]
        if number % 8 == 3:
            minutes = [9 * 60, 16 * 60]
        if number % 9 == 4:
            minutes = [*minutes, 23 * 60 + 30]
        found += [(FIRST_RUN + number, minute) for minute in minutes]
    return found


AFTERWARDS = (1, 2, 4, 9, 31)
"""Days after the month on which there is a run: articles are asked about for thirty days."""


def simulate(month: Month) -> None:
    """Run the month and what follows it."""
    runs = times_of_runs()
    last = runs[-1][0]
    month.run_all(run for run in runs if run[0] < OUTAGE_ON)
    for sandbox, outage in product(month.sandboxes, OUTAGES):
        sandbox.add_data_fault(outage)
    month.run_all(run for run in runs if OUTAGE_ON <= run[0] < OUTAGE_ON + 2)
    for sandbox, outage in product(month.sandboxes, OUTAGES):
        sandbox.remove_data_fault(outage)
    month.run_all(run for run in runs if run[0] >= OUTAGE_ON + 2)
    month.run_all((last + more, 11 * 60) for more in AFTERWARDS)


def ends_in_the_truth(month: Month, duck: duckdb.DuckDBPyConnection) -> None:
    """Compare every row of every dataset with what the source says in the end."""
    assert month.lab.calls() <= month.reference.calls
    for dataset in month.datasets:
        truth = expected(dataset.name, month.lab.appids, days_between(BEGIN, END))
        assert truth
        assert published_rows(duck, month.lab.root, dataset.name) == truth


BY_DAY = (*STEADY, "user_summary", "article_read", "article_total_detail", "upstream_msg_week")
"""A dataset of each kind: with figures that are revised, that are delayed, and of weeks."""


@pytest.mark.slow
@pytest.mark.parametrize("datasets", [BY_DAY, tuple(CATALOGUE)], ids=len)
def test_a_month_of_daily_runs_ends_in_the_truth(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, datasets: tuple[str, ...]
) -> None:
    """Late, empty, delayed and revised days, with fewer calls than one a day for each open day."""
    month = month_of(tmp_path, 2, datasets)
    simulate(month)
    ends_in_the_truth(month, duck)


@pytest.mark.slow
def test_more_accounts_in_other_trouble(tmp_path: Path, duck: duckdb.DuckDBPyConnection) -> None:
    """The same for a dozen accounts, among them quiet ones, with the troubles on other days."""
    month = month_of(tmp_path, 12, tuple(CATALOGUE), seed=7)
    simulate(month)
    ends_in_the_truth(month, duck)
