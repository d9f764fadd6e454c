"""Leases: one owner for each bucket of an object store, although no two clocks agree.

A lease is an object that names its holder. It is put only where there is none, or over the version
that was read, so of two runs that want it one gets it. The holder puts it again after each third
of its time, every time with other contents. Another run takes it over once it has seen the same
version for the whole time by its own clock. The holder starts no request when two thirds have
passed since it sent the last put that arrived. So never two runs start requests in one bucket, as
long as their clocks run at the same speed within a third, whatever time they show.

What a holder publishes stays conditional: a lost lease costs calls, and no rows
(docs/decisions/0014-object-stores.md).
"""

from __future__ import annotations

import json
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from harvester.core.calendar import Clock, utc_text
from harvester.core.errors import LostRace, StoreError
from harvester.core.hold import Hold
from harvester.storage.backends import claims
from harvester.storage.backends.base import LOCKS, Store, Version
from harvester.storage.backends.claims import Claim
from harvester.storage.backends.concurrently import map_concurrently
from harvester.storage.backends.elapsed import boot_seconds

RENEWED_AFTER = 1 / 3
"""Part of a lease after which it is renewed."""

GOOD_FOR = 2 / 3
"""Part of a lease in which its holder starts requests, from before the put that began it."""

MAX_SECONDS = 3600.0
"""Maximum length of a lease; a note that says more is not harvester's."""

SPARE_SECONDS = 5.0
"""Seconds that a run waits, unless it is told otherwise, beyond the lease of a dead holder."""

SUFFIX = ".lease"
"""End of the name of a lease, after its bucket."""

_SHORT_PAUSE = 0.01
_LOOK_SECONDS = 0.5
_LOOKS_PER_SECOND = 64
"""Buckets that a waiting run looks at in a second; of more it looks at each less often."""

_RETRIES_PER_LEASE = 12
_NEVER = float("-inf")

_T = TypeVar("_T")

_log = logging.getLogger("harvester.lease")


class Terms(NamedTuple):
    """Terms of the leases of one run: their length in ``seconds``, by ``clock``.

    ``holder`` names this hold and no other.
    """

    seconds: float
    clock: Clock
    holder: str


class BucketLease:
    """The lease of one bucket, as one run sees it and may hold it. For one thread at a time.

    Requests may be started until ``good_until``, and the lease is to be renewed at ``due_at``: both
    by the clock of ``terms``.
    """

    def __init__(self, files: Store, bucket: str, terms: Terms) -> None:
        self.bucket = bucket
        self.good_until = self.due_at = _NEVER
        self.is_lost = False
        self._files = files
        self._name = f"{LOCKS}/{bucket}{SUFFIX}"
        self._terms = terms
        self._note: Mapping[str, Any] = {}
        self._version: Version | None = None
        self._since = _NEVER
        self._sent_at: list[float] = []

    @property
    def owner(self) -> claims.Owner | None:
        """The holder as it was last seen; None if the note names none."""
        return claims.owner_of(self.bucket, self._note)

    @property
    def ends_at(self) -> float:
        """The time from which the bucket may be taken, if it is not renewed until then."""
        if self._version is None or is_free(self._note):
            return _NEVER
        return self._since + seconds_of(self._note, self._terms.seconds)

    def look(self) -> None:
        """See which version is there now. Raises StoreError."""
        found = self._files.get(self._name)
        version = found.version if found else None
        if version != self._version or self._since == _NEVER:
            # Counted from after the answer, because its holder sent the put before that.
            self._version, self._since = version, self._terms.clock()
            self._note = claims.parse_note(found.data) if found else {}

    def take(self, note: Mapping[str, Any]) -> bool:
        """Take the bucket if it is free; return whether it is held then. Raises StoreError."""
        return self._terms.clock() >= self.ends_at and self._put(note)

    def renew(self, note: Mapping[str, Any]) -> bool:
        """Go on holding the bucket; return whether it is still held. Raises StoreError."""
        self.is_lost = not self._put(note)
        if self.is_lost:
            self.good_until = _NEVER
        return not self.is_lost

    def give_back(self, note: Mapping[str, Any]) -> None:
        """Let others take the bucket at once, unless it is lost. Raises StoreError."""
        try:
            # Twice, because an earlier put may arrive just before, whose answer was lost.
            for _ in range(2):
                if not self.is_lost and not is_free(self._note):
                    self.is_lost = not self._put({**note, "free": True})
        finally:
            self.good_until = _NEVER

    def _put(self, note: Mapping[str, Any]) -> bool:
        """Put a note over the version that was seen; return whether the bucket is held then."""
        terms, beat = self._terms, len(self._sent_at)
        told = {**note, "lease": terms.seconds, "holder": terms.holder, "beat": beat}
        data = json.dumps(told).encode()
        # Before it is sent, so that this run's time ends before others believe that it does.
        self._sent_at.append(terms.clock())
        # Soon, in case it fails; a put that arrives is good for longer.
        self.due_at = self._sent_at[beat] + terms.seconds / _RETRIES_PER_LEASE
        try:
            version = self._files.put(self._name, data, self._version)
        except LostRace:
            self.look()
            # It may have been lost to an earlier put of this run whose answer did not come.
            return self._adopt()
        self._version, self._since, self._note = version, terms.clock(), told
        self.due_at = self._sent_at[beat] + terms.seconds * RENEWED_AFTER
        return self._adopt()

    def _adopt(self) -> bool:
        """Go by the note that was last seen if it is of this run; return whether it is."""
        beat, sent_at = self._note.get("beat"), self._sent_at
        is_ours = self._note.get("holder") == self._terms.holder
        if not (is_ours and isinstance(beat, int) and 0 <= beat < len(sent_at)):
            return False
        self.good_until = sent_at[beat] + self._terms.seconds * GOOD_FOR
        return True


class Ownership:
    """The leases of one run, kept by a thread of their own until the run gives them back.

    The event loop and the threads that publish may be busy for longer than a lease.
    """

    def __init__(self, files: Store, buckets: Iterable[str], claim: Claim, terms: Terms) -> None:
        self._claim = claim
        self._terms = terms
        self._note: dict[str, Any] = {}
        self._waiting = [BucketLease(files, bucket, terms) for bucket in sorted({*buckets})]
        self._held: list[BucketLease] = []
        self._good_until = _NEVER
        self._is_over = False
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="lease", daemon=True)

    def may_start(self) -> bool:
        """Return whether a request may be started; see `Hold`."""
        if self._terms.clock() < self._good_until and not self._is_over:
            return True
        # For good: another run may have had the bucket in between, even if it is held again.
        self._is_over = True
        return False

    def take(self, sleep: Callable[[float], object] = time.sleep) -> None:
        """Take all buckets, in order; those that others hold are watched all at once.

        Raises Busy if that takes too long, and StoreError.
        """
        claim, clock, waiting = self._claim, self._terms.clock, self._waiting
        wait = claims.Wait(claim, clock, self._terms.seconds + SPARE_SECONDS)
        pause = max(_LOOK_SECONDS, len(waiting) / _LOOKS_PER_SECOND)
        pause = min(pause, self._terms.seconds / 6)
        self._note = claim.note()
        # Before the first is taken, because to take thousands may last longer than a lease.
        self._keeper.start()
        while True:
            _for_each(BucketLease.look, waiting)
            # In order, or two runs could each wait for what the other one holds.
            while waiting and waiting[0].take(self._note):
                self._held.append(waiting.pop(0))
            if not waiting:
                break
            first = waiting[0]
            ends_in = first.ends_at - clock()
            left = wait.left(first.bucket, first.owner, max(0.0, ends_in))
            sleep(max(_SHORT_PAUSE, min(pause, left, ends_in)))
        self._good_until = self._first_end()

    def give_back(self) -> None:
        """Let others take the buckets. A lease that cannot be given back ends by itself."""
        self._is_over = True
        self._ending.set()
        # It has not been started if the run failed before it took anything.
        if self._keeper.ident is not None:
            self._keeper.join()
        _for_each(self._give_back, self._held)

    def _give_back(self, lease: BucketLease) -> None:
        with suppress(StoreError):
            lease.give_back(self._note)

    def _keep(self) -> None:
        """Renew each lease after a third of it, until the end."""
        longest = self._terms.seconds * RENEWED_AFTER / 4
        pause = 0.0
        while not self._ending.wait(pause):
            kept = [lease for lease in self._held if not lease.is_lost]
            now = self._terms.clock()
            late = [lease for lease in kept if lease.due_at <= now]
            _for_each(self._renew, late)
            # As long as buckets are waited for no request may be started anyway.
            if late and not self._waiting:
                self._good_until = self._first_end()
            # At least now and then, because further leases may be taken meanwhile.
            next_due = min((lease.due_at for lease in kept), default=math.inf)
            pause = max(_SHORT_PAUSE, min(longest, next_due - self._terms.clock()))

    def _first_end(self) -> float:
        return min((lease.good_until for lease in self._held), default=math.inf)

    def _renew(self, lease: BucketLease) -> None:
        try:
            if not lease.renew(self._note):
                _log.warning("%s: another run has taken over: %s", lease.bucket, lease.owner)
        except StoreError as error:
            _log.warning("%s: the lease was not renewed: %s", lease.bucket, error.problem)


@contextmanager
def held(files: Store, buckets: Iterable[str], claim: Claim, seconds: float) -> Iterator[Hold]:
    """Hold the leases of buckets for the block. Raises as `Ownership.take`."""
    terms = Terms(seconds, boot_seconds, secrets.token_hex(8))
    ownership = Ownership(files, buckets, claim, terms)
    try:
        ownership.take()
        yield Hold(ownership.may_start)
    finally:
        ownership.give_back()


def owner(bucket: str, data: bytes, put_at: datetime, usual_seconds: float) -> claims.Owner | None:
    """Return the holder that the lease of a bucket names, put at a time of the store, if any."""
    note = claims.parse_note(data)
    if is_free(note):
        return None
    found = claims.owner_of(bucket, note) or claims.Owner(bucket, "", 0, "", "")
    ends_at = put_at.timestamp() + seconds_of(note, usual_seconds)
    return found._replace(renewed_at=utc_text(put_at.timestamp()), lease_ends_at=utc_text(ends_at))


def is_free(note: Mapping[str, Any]) -> bool:
    """Return whether the holder of a lease has given it back."""
    return note.get("free") is True


def seconds_of(note: Mapping[str, Any], usual: float) -> float:
    """Return the length of the lease that a note is of, ``usual`` if it does not say."""
    seconds = note.get("lease")
    if isinstance(seconds, int | float) and 0 < seconds <= MAX_SECONDS:
        return float(seconds)
    return usual


def _for_each(function: Callable[[_T], object], items: Sequence[_T]) -> None:
    """Call a function for each item, at once if there are several."""
    list((map_concurrently if len(items) > 1 else map)(function, items))
