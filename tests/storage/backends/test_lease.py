"""Leases of buckets: never two runs start requests, whatever clocks, stores and machines do."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from harvester.core.errors import Busy, LostRace, StoreError
from harvester.storage.backends.base import LOCKS, Blob, Store, Version
from harvester.storage.backends.lease import GOOD_FOR, BucketLease, Ownership, Terms
from tests.support.claims import claim

SECONDS = 30.0
NOTE = claim("run").note()
FAST, SLOW = 1.2, 0.82
"""Speeds of two clocks that differ by less than a half, as the unequal shares of a lease allow."""


def _nothing() -> None:
    """Do nothing."""


@dataclass
class Fate:
    """The fate of one put: what becomes of it, and the seconds on its way there and back."""

    kind: str = "fine"
    there: float = 0.0
    back: float = 0.0


@dataclass
class FakeStore:
    """Small files with versions, on a network that loses, delays and repeats puts.

    ``now`` is the true time. ``meanwhile`` happens while a put is on its way there, and again while
    its answer is on its way back.
    """

    now: float = 1000.0
    fate: Fate = field(default_factory=Fate)
    meanwhile: Callable[[], object] = _nothing
    puts: list[tuple[float, str, Version | None]] = field(default_factory=list)
    late: list[tuple[str, bytes, Version | None]] = field(default_factory=list)
    files: dict[str, Blob] = field(default_factory=dict)

    @property
    def whole(self) -> Store:
        """The part of a store that leases use, in the place of the whole."""
        return cast(Store, self)

    def get(self, name: str) -> Blob | None:
        """Return a file and its version."""
        return self.files.get(name)

    def put(self, name: str, source: bytes, over: Version | None) -> Version:
        """Put a file over a version, as far as its fate lets it arrive."""
        fate, self.fate = self.fate, Fate()
        self.now += fate.there
        meanwhile, self.meanwhile = self.meanwhile, _nothing
        meanwhile()
        if fate.kind == "lost":
            raise StoreError("it never arrived")
        if fate.kind == "late":
            self.late.append((name, source, over))
            raise StoreError("it has not arrived yet")
        version = self.arrive(name, source, over)
        meanwhile()
        self.now += fate.back
        if fate.kind == "unanswered":
            raise StoreError("it arrived, and the answer was lost")
        if fate.kind == "repeated":
            raise LostRace("the answer was lost, and the put was repeated")
        return version

    def arrive(self, name: str, source: bytes, over: Version | None) -> Version:
        """Replace a file if it still has the version."""
        there = self.files.get(name)
        if (there and there.version) != over:
            raise LostRace("another version is there")
        version = Version(f"v{len(self.puts)}")
        self.puts.append((self.now, name, over))
        self.files[name] = Blob(source, version)
        return version


@dataclass
class Run:
    """A run that wants one bucket; its clock has a time and a speed of its own."""

    store: FakeStore
    number: int
    offset: float
    speed: float
    lives: int = 0
    holds: bool = False
    lease: BucketLease = field(init=False)

    def __post_init__(self) -> None:
        """Begin the first life."""
        self.restart()

    def clock(self) -> float:
        """Return the time of this run's machine."""
        return self.offset + self.speed * self.store.now

    def restart(self) -> None:
        """Die without a word, and begin anew."""
        self.lives += 1
        self.holds = False
        holder = f"{self.number}-{self.lives}"
        self.lease = BucketLease(
            self.store.whole, "0000-of-0001", Terms(SECONDS, self.clock, holder)
        )

    @property
    def may_start(self) -> bool:
        """True if this run would hand out a window now."""
        return self.clock() < self.lease.good_until

    def act(self, what: str) -> None:
        """Do what a run does at some moment: watch and take, or renew, or give back."""
        try:
            if what == "give back" and self.holds:
                self.holds = False
                self.lease.give_back(NOTE)
                self.restart()
            elif self.holds:
                self.holds = self.lease.renew(NOTE)
            else:
                self.lease.look()
                self.holds = self.lease.take(NOTE)
        except LostRace:
            raise
        except StoreError:
            # Whether the put has arrived shows when the run acts again.
            pass
        if not self.holds and self.lease.is_lost:
            self.restart()


WAYS = st.sampled_from([0.0, 0.0, 0.01, SECONDS / 6, SECONDS / 3, SECONDS])
BAD_FATES = st.builds(
    Fate, st.sampled_from(["fine", "lost", "late", "unanswered", "repeated"]), WAYS, WAYS
)
STEPS = st.integers(1, 36)
"""Pauses in parts of a lease; short ones are more likely to reveal what a few seconds decide."""
RUNS = st.integers(0, 2)


class LeaseMachine(RuleBasedStateMachine):
    """Runs that want one bucket. Any of them may pause: it does nothing while the others act."""

    speeds: tuple[float, ...] = (FAST, SLOW)

    def __init__(self) -> None:
        super().__init__()
        self.store = FakeStore()
        self.runs = [
            Run(self.store, number, offset=-4000.0 * number, speed=speed)
            for number, speed in enumerate(self.speeds)
        ]

    def run_of(self, number: int) -> Run:
        """Return one of the runs."""
        return self.runs[number % len(self.runs)]

    @rule(steps=STEPS)
    def wait(self, steps: int) -> None:
        """Time passes."""
        self.store.now += steps * SECONDS / 18

    @rule(number=RUNS)
    def go_on(self, number: int) -> None:
        """A run renews its lease, or watches that of another and takes it if it has ended."""
        self.run_of(number).act("go on")

    @rule(number=RUNS, steps=STEPS, fate=st.one_of(st.builds(Fate, back=WAYS), BAD_FATES))
    def pause_under_watch(self, number: int, steps: int, fate: Fate) -> None:
        """A run goes on once more while the others watch it, and then pauses for some time."""

        def watch() -> None:
            for other in range(1, len(self.runs)):
                self.run_of(number + other).act("go on")

        self.store.meanwhile = watch
        self.act_on_a_bad_network(number, "go on", fate)
        self.store.meanwhile = _nothing
        self.store.now += steps * SECONDS / 18
        watch()

    @rule(number=RUNS, what=st.sampled_from(["go on", "go on", "give back"]), fate=BAD_FATES)
    def act_on_a_bad_network(self, number: int, what: str, fate: Fate) -> None:
        """A put of a run is late, gets lost, or its answer does."""
        self.store.fate = fate
        self.run_of(number).act(what)
        self.store.fate = Fate()

    @rule(number=RUNS, other=st.integers(1, 2), fate=BAD_FATES)
    def act_at_once(self, number: int, other: int, fate: Fate) -> None:
        """Another run acts while a put of the first one is on its way."""
        if self.run_of(number + other) is not self.run_of(number):
            self.store.meanwhile = lambda: self.run_of(number + other).act("go on")
        self.act_on_a_bad_network(number, "go on", fate)
        self.store.meanwhile = _nothing

    @rule(number=RUNS)
    def give_back(self, number: int) -> None:
        """A run ends in order."""
        self.run_of(number).act("give back")

    @rule(number=RUNS)
    def kill(self, number: int) -> None:
        """A run dies, and starts anew."""
        self.run_of(number).restart()

    @precondition(lambda self: self.store.late)
    @rule(which=st.integers(0, 5))
    def arrive(self, which: int) -> None:
        """A put that was given up arrives all the same."""
        with suppress(LostRace):
            self.store.arrive(*self.store.late.pop(which % len(self.store.late)))

    @invariant()
    def one_owner(self) -> None:
        """At no moment two runs would hand out a window."""
        assert sum(run.may_start for run in self.runs) <= 1


class ThreeRuns(LeaseMachine):
    """The same with three runs."""

    speeds = (FAST, SLOW, 1.0)


FEW = settings(max_examples=8, stateful_step_count=40, deadline=None)
MANY = settings(max_examples=200, stateful_step_count=50, deadline=None)

TwoRunsTest = LeaseMachine.TestCase
TwoRunsTest.settings = FEW
ThreeRunsTest = ThreeRuns.TestCase
ThreeRunsTest.settings = FEW


@pytest.mark.slow
@pytest.mark.parametrize("machine", [LeaseMachine, ThreeRuns])
def test_ten_thousand_steps(machine: type[RuleBasedStateMachine]) -> None:
    """The same state machines for 10,000 steps each."""
    run_state_machine_as_test(machine, settings=MANY)


BUCKETS = [f"{number:04d}-of-0008" for number in range(8)]


def ownership(store: FakeStore, buckets: Sequence[str], holder: str, **options: Any) -> Ownership:
    """Return the leases that a run of the right clock is about to take."""
    terms = Terms(SECONDS, lambda: store.now, holder)
    return Ownership(store.whole, buckets, claim(holder, **options), terms)


def hold(store: FakeStore, bucket: str, **options: Any) -> BucketLease:
    """Take a bucket for a run that nothing renews."""
    lease = BucketLease(store.whole, bucket, Terms(SECONDS, lambda: store.now, "theirs"))
    lease.look()
    assert lease.take(claim("theirs", **options).note())
    return lease


def passing(store: FakeStore) -> Callable[[float], object]:
    """Return a sleep that lets the time of a store pass."""

    def sleep(seconds: float) -> None:
        store.now += seconds

    return sleep


def test_all_buckets_of_a_dead_run_are_taken_after_one_lease() -> None:
    """They are watched at once, so eight buckets take as long as one, and are taken in order."""
    store = FakeStore()
    for bucket in BUCKETS:
        hold(store, bucket)
    begun = store.now
    ours = ownership(store, [*reversed(BUCKETS)], "ours")
    ours.take(passing(store))
    assert SECONDS <= store.now - begun <= SECONDS + 1
    assert ours.may_start()
    taken = [name for at, name, _ in store.puts if at > begun]
    assert taken == [f"{LOCKS}/{bucket}.lease" for bucket in BUCKETS]
    ours.give_back()
    assert not ours.may_start()


def test_a_lease_that_was_given_back_is_taken_at_once() -> None:
    """A run that ends in order keeps no other waiting, and nothing is deleted."""
    store = FakeStore()
    hold(store, BUCKETS[0]).give_back(NOTE)
    begun = store.now
    ours = ownership(store, BUCKETS[:1], "ours")
    ours.take(passing(store))
    assert store.now == begun
    ours.give_back()
    assert json.loads(store.files[f"{LOCKS}/{BUCKETS[0]}.lease"].data)["free"] is True


def test_a_lease_ends_although_a_renewal_arrives_just_before() -> None:
    """The next run need not wait for a lease that no run holds."""
    store = FakeStore()
    lease = hold(store, BUCKETS[0])
    store.fate = Fate("late")
    with pytest.raises(StoreError):
        lease.renew(NOTE)

    def arrives() -> None:
        while store.late:
            store.arrive(*store.late.pop())

    store.meanwhile = arrives
    lease.give_back(NOTE)
    assert json.loads(store.files[f"{LOCKS}/{BUCKETS[0]}.lease"].data)["free"] is True


def test_a_run_that_lives_is_never_taken_over() -> None:
    """However long another run waits: each renewal makes it wait for a whole lease again."""
    store = FakeStore()
    theirs = hold(store, BUCKETS[0])
    renewed = store.now

    def sleep(seconds: float) -> None:
        nonlocal renewed
        store.now += seconds
        if store.now - renewed >= SECONDS / 3:
            renewed = store.now
            assert theirs.renew(claim("theirs").note())

    ours = ownership(store, BUCKETS[:1], "ours", timeout=20 * SECONDS)
    with pytest.raises(Busy) as caught:
        ours.take(sleep)
    ours.give_back()
    assert "run theirs" in str(caught.value)
    assert store.now >= 1000 + 20 * SECONDS


@pytest.mark.parametrize("timeout", [0.0, 10.0, None])
def test_a_bucket_that_stays_held_is_busy(timeout: float | None) -> None:
    """The error names the holder, its host and since when, and when its lease ends."""
    store = FakeStore()
    theirs = hold(store, BUCKETS[1])
    sleep = passing(store)
    ours = ownership(store, BUCKETS[:3], "ours", timeout=timeout)

    def renewing(seconds: float) -> None:
        sleep(seconds)
        if timeout is None and store.now > 1020:
            theirs.renew(claim("theirs").note())

    with pytest.raises(Busy) as caught:
        ours.take(renewing)
    ours.give_back()
    waited = SECONDS + 5 if timeout is None else timeout
    assert store.now == pytest.approx(1000 + waited, abs=0.1)
    busy = caught.value
    assert busy.since == "2026-01-01T00:00:00Z"
    assert all(word in busy.owner for word in (socket.gethostname(), "theirs", busy.since))
    left = SECONDS if timeout is None else SECONDS - timeout
    assert busy.retry_at is not None
    assert busy.retry_at.timestamp() - claim("x").now() == pytest.approx(left, abs=1)
    # The bucket before it was given back again, the one behind it was not touched.
    first = json.loads(store.files[f"{LOCKS}/{BUCKETS[0]}.lease"].data)
    assert first["free"] is True
    assert f"{LOCKS}/{BUCKETS[2]}.lease" not in store.files


@pytest.mark.parametrize("timeout", [3600.0, None])
def test_a_run_waits_no_longer_than_it_may_take(timeout: float | None) -> None:
    """Its time budget bounds the wait that was asked for, and the usual one."""
    store = FakeStore()
    hold(store, BUCKETS[0])
    ours = ownership(store, BUCKETS[:1], "ours", timeout=timeout, limit=10.0)
    with pytest.raises(Busy):
        ours.take(passing(store))
    ours.give_back()
    assert store.now == pytest.approx(1010, abs=0.1)


def test_a_run_that_is_stopped_waits_no_longer() -> None:
    """A signal ends the wait for another run."""
    store = FakeStore()
    hold(store, BUCKETS[0])
    ours = ownership(store, BUCKETS[:1], "ours", timeout=3600.0, is_stopped=lambda: True)
    with pytest.raises(Busy):
        ours.take(passing(store))
    assert store.now == 1000


@pytest.mark.parametrize(("ours", "theirs"), [(None, "2/8"), ("1/4", "2/8"), ("1/8", None)])
def test_a_shard_waits_for_any_other_run(ours: str | None, theirs: str | None) -> None:
    """Also for one of another number of shards, whose runs end like any others."""
    store = FakeStore()
    hold(store, BUCKETS[0], shard=theirs)
    run = ownership(store, BUCKETS[:1], "ours", shard=ours)
    run.take(passing(store))
    run.give_back()


def test_a_lost_lease_is_not_given_back() -> None:
    """It is another run's: its note stays, and nothing may be started any more."""
    store = FakeStore()
    ours = ownership(store, BUCKETS[:1], "ours")
    ours.take(passing(store))
    store.now += SECONDS * GOOD_FOR
    assert not ours.may_start()
    store.now += SECONDS * (1 - GOOD_FOR)
    name = f"{LOCKS}/{BUCKETS[0]}.lease"
    store.files[name] = Blob(b'{"holder": "theirs"}', Version("theirs"))
    ours.give_back()
    assert store.files[name].version == "theirs"
    assert not ours.may_start()


@pytest.mark.parametrize("note", [b"", b"[]", b"{", b'{"lease": 1e99}', b'{"lease": "x"}', b"\xff"])
def test_a_damaged_note_is_that_of_an_unknown_run(note: bytes) -> None:
    """It is waited for as long as a lease of this run."""
    store = FakeStore()
    store.files[f"{LOCKS}/{BUCKETS[0]}.lease"] = Blob(note, Version("odd"))
    ours = ownership(store, BUCKETS[:1], "ours", timeout=0.0)
    with pytest.raises(Busy, match="does not name it"):
        ours.take(passing(store))
    ours.give_back()
    begun = store.now
    ours = ownership(store, BUCKETS[:1], "ours")
    ours.take(passing(store))
    assert store.now - begun == pytest.approx(SECONDS, abs=0.1)
    ours.give_back()


def test_the_lease_of_the_holder_counts() -> None:
    """A run with a shorter lease waits as long as the holder's note says."""
    store = FakeStore()
    long = BucketLease(store.whole, BUCKETS[0], Terms(300.0, lambda: store.now, "theirs"))
    long.look()
    assert long.take(claim("theirs").note())
    ours = ownership(store, BUCKETS[:1], "ours", timeout=900.0)
    ours.take(passing(store))
    assert store.now == pytest.approx(1300, abs=1)
    ours.give_back()


def test_a_renewal_never_replaces_the_note_of_another_run() -> None:
    """A run that slept for too long learns that its bucket is taken, and leaves it alone."""
    store = FakeStore()
    ours = hold(store, BUCKETS[0])
    store.now += 2 * SECONDS
    theirs = ownership(store, BUCKETS[:1], "another")
    theirs.take(passing(store))
    # The one that watched has waited for a lease, so it may start and this one may not.
    name = f"{LOCKS}/{BUCKETS[0]}.lease"
    note = store.files[name]
    assert not ours.renew(NOTE)
    assert ours.is_lost
    assert store.files[name] == note
    theirs.give_back()


def test_a_lease_counts_from_before_its_put() -> None:
    """A put that is long on its way shortens the time in which requests may be started."""
    store = FakeStore()
    lease = BucketLease(store.whole, BUCKETS[0], Terms(SECONDS, lambda: store.now, "ours"))
    lease.look()
    store.fate = Fate("fine", there=6, back=4)
    assert lease.take(NOTE)
    assert lease.good_until == 1000 + SECONDS * GOOD_FOR
    store.fate = Fate("unanswered", there=1, back=1)
    with pytest.raises(StoreError):
        lease.renew(NOTE)
    # It has arrived, so the next one finds it in its place, and goes by the time it was sent at.
    store.now += 5
    assert lease.renew(NOTE)
    assert lease.good_until == 1010 + SECONDS * GOOD_FOR
    assert lease.renew(NOTE)
    assert lease.good_until == 1017 + SECONDS * GOOD_FOR
