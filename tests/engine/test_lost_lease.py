"""A run whose lease is not renewed in time: it asks nothing more, and publishes what it has."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from harvester.core.calendar import parse_day
from harvester.core.config.settings import Limits, Pace
from harvester.core.exit_codes import Exit
from harvester.core.hold import Hold
from harvester.core.model import Rate
from harvester.runs.record.run_record import as_record
from harvester.storage.backends.claims import Claim
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import Tree
from harvester.storage.state import quota_ledger
from tests.support.fake_time import VirtualTimeHarness, in_virtual_time
from tests.support.run_harness import HOURLY, days_between, expected, published_rows

TODAY = parse_day("2026-05-20")
PERIOD = 1.0


@dataclass(frozen=True, slots=True)
class Leased(LocalStore):
    """A folder whose locks are lost at a moment of the virtual time."""

    lab: VirtualTimeHarness | None = None
    good_until: float = 0.0

    @contextmanager
    def lock(self, names: Iterable[str], claim: Claim) -> Iterator[Hold]:
        """Hold the locks of a folder, and lose them."""
        assert self.lab is not None
        lab = self.lab
        with LocalStore.lock(self, names, claim):
            yield Hold(lambda: lab.now() < self.good_until)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[VirtualTimeHarness]:
    """Two accounts that owe fifty hourly days each, which takes five seconds."""
    lab = VirtualTimeHarness(
        tmp_path, accounts=2, begin="2026-03-01", end="2026-04-19", datasets=(HOURLY,)
    )
    lab.limits = Limits(Pace(Rate(10, PERIOD), 1, concurrency=4))
    with in_virtual_time(lab):
        yield lab


def leased(lab: VirtualTimeHarness, seconds: float) -> Tree:
    """Return the output of a lab, to be lost after so many seconds."""
    return Tree(Leased(lab.root, lab=lab, good_until=lab.now() + seconds))


def test_no_request_is_started_after_the_lease(
    lab: VirtualTimeHarness, duck: duckdb.DuckDBPyConnection
) -> None:
    """Answers that come home are published, and the run ends with 75 and the reason `lease`."""
    end = lab.now() + 3
    done = lab.run(leased(lab, 3))
    assert (done.exit_code, [*done.reasons()]) == (Exit.AGAIN, ["lease"])
    assert 40 <= len(lab.net.calls) < 100
    assert max(lab.net.attempts) < end
    assert len(published_rows(duck, lab.root, HOURLY)) > 0
    assert done.answered == len(lab.net.calls)
    record = as_record(done)
    assert record["outcome"] == "unfinished"
    assert record["retry_at"] is not None
    # The next run goes on, and asks nothing twice.
    again = lab.run()
    assert again.exit_code is Exit.DONE
    assert len(lab.net.calls) == 100
    truth = expected(HOURLY, lab.appids, days_between("2026-03-01", "2026-04-19"))
    assert published_rows(duck, lab.root, HOURLY) == truth


def test_a_run_that_has_lost_its_lease_writes_no_ledger(lab: VirtualTimeHarness) -> None:
    """So its ledger stays in use, and the next run holds off a period, as after a kill."""
    lab.run(leased(lab, 3))
    ledger = quota_ledger.read(lab.tree, TODAY, 0)
    assert ledger is not None
    assert ledger.in_use
    assert sum(ledger.today.calls[HOURLY].values()) >= len(lab.net.calls)
    begun = lab.now()
    before = len(lab.net.calls)
    lab.run()
    assert lab.net.calls[before].at >= begun + PERIOD


def test_a_lease_that_ends_after_the_last_answer_leaves_nothing_open(
    lab: VirtualTimeHarness,
) -> None:
    """Everything was answered, so the run is complete, whatever became of the lease."""
    done = lab.run(leased(lab, 30))
    assert done.exit_code is Exit.DONE
    lab.advance(100)
    assert lab.run().requests == 0


def test_a_lease_that_ends_while_nothing_is_asked_ends_the_run(lab: VirtualTimeHarness) -> None:
    """A run that waits for the minute limit to pass notices within seconds."""
    lab.net.refuse = lambda *_: 45011
    begun = lab.now()
    done = lab.run(leased(lab, 5))
    assert "lease" in done.reasons()
    assert lab.now() - begun < 10


def test_days_that_another_run_has_published_meanwhile_are_not_pending(
    lab: VirtualTimeHarness, tmp_path: Path
) -> None:
    """The files say what is missing, and nothing is."""
    lab.run(Tree(LocalStore(tmp_path / "other")))
    tree = leased(lab, 3)
    end = lab.now() + 3

    @contextmanager
    def lock(_: Leased, names: Iterable[str], claim: Claim) -> Iterator[Hold]:
        copied: list[object] = []

        def is_good() -> bool:
            if lab.now() >= end and not copied:
                place = tmp_path / "other" / HOURLY, lab.root / HOURLY
                copied.append(shutil.copytree(*place, dirs_exist_ok=True))
            return not copied

        with LocalStore.lock(tree.store, names, claim):  # type: ignore[arg-type]
            yield Hold(is_good)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Leased, "lock", lock)
        done = lab.run(tree)
    assert (done.exit_code, done.pending) == (Exit.DONE, ())
