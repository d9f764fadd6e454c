"""An object store with bad days: runs end with 0 or 75, and the next one is exact."""

from __future__ import annotations

from collections.abc import Container
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import duckdb
import pytest

from harvester.core.config.settings import Output
from harvester.core.errors import (
    HarvesterError,
    LeaseLost,
    LostRace,
    StoreAway,
    StoreRefused,
    UsageError,
)
from harvester.core.exit_codes import Exit
from harvester.storage import layout
from harvester.storage.backends.base import Blob
from harvester.storage.backends.object_client import TimeLimits
from harvester.storage.backends.object_store import ObjectStore
from harvester.storage.layout import open_tree
from harvester.storage.state import rewrite_journal
from tests.support import kill_at
from tests.support.claims import claim
from tests.support.faulty_store import FAULTS, Weather, faulty_store
from tests.support.nights import by_night, few_by_day
from tests.support.run_harness import (
    BOTH,
    RunHarness,
    days_between,
    expected,
    published_rows,
)
from tests.support.store_backends import all_names, download

DAYS = [
    f"{fault} {rate} {seed} {shards}"
    for fault in (*FAULTS, "mixed")
    for rate in (0.02, 0.1)
    for seed in range(20)
    for shards in (1, 2)
]
FEW = [f"{fault} 0.1 0 1" for fault in ("409", "cut", "mixed")] + ["500 0.1 0 2"]


@pytest.mark.long
@pytest.mark.parametrize("day", few_by_day(DAYS, FEW))
def test_a_run_on_a_bad_day(
    tmp_path: Path,
    s3_output: Output,
    duck: duckdb.DuckDBPyConnection,
    day: str,
) -> None:
    """Whatever the store does is no mistake of the user and no bug, and costs no call.

    That holds for one run, and for two shards at the same time.
    """
    fault, rate, seed, shards = day.split()
    weather = Weather(FAULTS if fault == "mixed" else (fault,), float(rate), int(seed))
    # The next run waits for a lease that could not be given back, for as long as its own lasts.
    s3_output = replace(s3_output, lease=30.0)
    with faulty_store(s3_output.endpoint or "", weather) as address:
        lab = kill_at.harness_for(tmp_path, replace(s3_output, endpoint=address))
        if shards == "2":
            # The fewest of which two are in the second bucket.
            lab.accounts, lab.buckets = 6, 2
        with ThreadPoolExecutor() as threads:
            owned = [(number, lab.buckets) for number in range(1, lab.buckets + 1)]
            codes = {*threads.map(partial(_code_of, lab), owned)}
    assert codes <= {Exit.DONE, Exit.AGAIN}
    lab.output = s3_output
    assert lab.run().exit_code is Exit.DONE
    folder = download(lab.tree.store, tmp_path / "copy")
    for dataset in BOTH:
        truth = expected(dataset, lab.appids, days_between(lab.begin, "2026-04-02"))
        assert published_rows(duck, folder, dataset) == truth
    assert all_names(lab.tree, layout.RAW) == []
    windows = len(lab.appids) * (1 + len(days_between(lab.begin, "2026-04-02")))
    assert lab.calls() == windows


def _code_of(lab: RunHarness, shard: tuple[int, int]) -> Exit:
    """Return the exit code of a run of one shard."""
    try:
        return lab.run(shard=shard).exit_code
    except HarvesterError as error:
        return error.exit_code


def store_with(
    stack: ExitStack, output: Output, weather: Weather, limits: TimeLimits
) -> ObjectStore:
    """Return the store of an output behind a proxy."""
    address = stack.enter_context(faulty_store(output.endpoint or "", weather))
    return ObjectStore(replace(output, endpoint=address), {}, limits)


@pytest.mark.parametrize("fault", ["failed", "lost", "cut", "silent"])
def test_a_put_whose_answer_got_lost_is_ours(s3_output: Output, fault: str) -> None:
    """Over none and over a version; contents of another run, of any length, are not."""
    plain = open_tree(s3_output).store
    for over in (None, plain.put("d/y", b"old")):
        name = "d/y" if over else "d/x"
        with ExitStack() as stack:
            store = store_with(stack, s3_output, Weather((fault,), 0, 0), TimeLimits(silence=0.5))
            put = store.put(name, b"ours", over)
            assert plain.get(name) == Blob(b"ours", put)
    for theirs in (b"them", b"longer"):
        plain.put("d/x", theirs)
        with ExitStack() as stack:
            store = store_with(stack, s3_output, Weather((fault,), 0, 0), TimeLimits(silence=0.5))
            with pytest.raises(LostRace):
                store.put("d/x", b"ours", None)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", range(4))
def test_the_probe_judges_clean_answers_alone(s3_output: Output, fault: str, seed: int) -> None:
    """An answer that is lost or late says nothing about conditions."""
    with ExitStack() as stack:
        weather = Weather((fault,), 0.5, seed, late=0.1)
        store = store_with(stack, s3_output, weather, TimeLimits(silence=0.2))
        with store.lock([], claim("ours")):
            pass


@pytest.mark.long
@pytest.mark.parametrize("fault", ["slow", *by_night(["silent"])])
def test_one_slow_answer_does_not_end_a_start_under_a_short_lease(
    s3_output: Output, fault: str
) -> None:
    """Neither to the look at a lease nor to the put that takes it."""
    for number in range(12):
        weather = _At((fault,), 0, 0, late=2.0, numbers=[number])
        output = replace(s3_output, path=f"{s3_output.path}/{number}", lease=1.0)
        with ExitStack() as stack:
            store = store_with(stack, output, weather, TimeLimits(silence=0.5))
            with store.lock(["bucket"], claim("ours")):
                pass


@dataclass
class _At(Weather):
    """Faults at the requests of some numbers alone."""

    numbers: Container[int] = ()

    def fault_of(self, line: str) -> str | None:
        self.requests.append(line)
        return self.faults[0] if len(self.requests) - 1 in self.numbers else None


@pytest.mark.parametrize(
    "number", [12, *(pytest.param(number, marks=pytest.mark.long) for number in (0, 25, 40))]
)
def test_a_key_that_expires(tmp_path: Path, s3_output: Output, number: int) -> None:
    """In the middle of a run another one may help; at first contact the user has to."""
    weather = _At(("403",), 0, 0, numbers=range(number, 10_000))
    with faulty_store(s3_output.endpoint or "", weather) as address:
        lab = kill_at.harness_for(tmp_path, replace(s3_output, endpoint=address))
        with pytest.raises((StoreRefused, LeaseLost) if number else UsageError):
            lab.run()
        with pytest.raises(UsageError, match="403 ExpiredToken"):
            rewrite_journal.refuse_unfinished(lab.tree)
    lab.output = s3_output
    assert lab.run().exit_code is Exit.DONE


@pytest.mark.parametrize("fault", ["409", "500", "503", "lost", "silent"])
def test_a_store_that_stays_away_is_no_mistake(s3_output: Output, fault: str) -> None:
    """Also at first contact: 75, once it was asked again for a while."""
    with ExitStack() as stack:
        weather = Weather((fault,), 1, 0)
        store = store_with(stack, s3_output, weather, TimeLimits(silence=0.2, patience=0.5))
        tree = layout.Tree(store)
        with pytest.raises(StoreAway) as caught:
            rewrite_journal.refuse_unfinished(tree)
        assert caught.value.exit_code is Exit.AGAIN
        assert len(weather.requests) > 1
        with pytest.raises(StoreAway), store.lock([], claim("ours")):
            pass


def test_a_silent_store_is_waited_for_no_longer_than_the_patience(s3_output: Output) -> None:
    """The library below repeats no request that was silent: each would take several times that."""
    with ExitStack() as stack:
        weather = Weather(("silent",), 1, 0)
        store = store_with(stack, s3_output, weather, TimeLimits(silence=0.2, patience=0.5))
        with pytest.raises(StoreAway):
            store.get("x")
        assert 1 < len(weather.requests) < 4
