"""Claims on buckets: what a run tells others when it locks them, and what it learns of a holder."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from harvester.core.calendar import Clock, utc_text
from harvester.core.errors import Busy
from harvester.core.text.inert_text import inert
from harvester.core.text.wording import Message, said

LOCK_SECONDS = 60.0
"""Seconds until a bucket is tried again whose lock does not say when it ends."""

_UNKNOWN = "its note does not name it yet"
_ADVICE = "wait until it ends, or stop it; running again then goes on where it stopped"
_MAX_PID = 1 << 32
_LONGEST = 1e9
"""Seconds of a wait that a message tells of; the year of a later moment has five digits."""

_log = logging.getLogger("harvester.locks")


class Claim(NamedTuple):
    """A claim of a run on buckets.

    ``now`` is in seconds since the Unix epoch. ``shard`` is one like ``2/8``, None if the run is
    no part of several. The run waits ``timeout`` seconds for a bucket that another run holds, None
    for what is usual in the store; but at most ``limit`` seconds, and no longer once
    ``is_stopped`` returns True.
    """

    run_id: str
    now: Clock
    shard: str | None
    timeout: float | None
    is_stopped: Callable[[], bool]
    limit: float

    def note(self) -> dict[str, Any]:
        """Return what names the run to others, from this moment on."""
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": utc_text(self.now()),
            "run": self.run_id,
            "shard": self.shard,
        }


class Owner(NamedTuple):
    """The holder of a bucket, as its note names it; all texts are safe to print.

    ``since`` is when it took the bucket, RFC 3339 in UTC. The note of a lease says in
    ``renewed_at`` when it was last put, by the store's clock, and the lease ends at
    ``lease_ends_at`` unless it is put again; both are None for a lock on a disk, which ends with
    its process.
    """

    bucket: str
    host: str
    pid: int
    since: str
    run_id: str
    shard: str | None = None
    renewed_at: str | None = None
    lease_ends_at: str | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def text(self) -> Message:
        """The holder in words."""
        found = said("host {host}, pid {pid}, since {since}, run {run_id}", **self._asdict())
        return (
            said("{owner}, shard {shard}", owner=found, shard=self.shard) if self.shard else found
        )


def owner_of(bucket: str, note: Mapping[str, Any]) -> Owner | None:
    """Return the holder that a note names, None if it names none."""
    try:
        host, since, run_id = (inert(str(note[name])) for name in ("host", "since", "run"))
        pid, shard = int(note["pid"]), note.get("shard")
    except (KeyError, TypeError, ValueError):
        return None
    # A note may be forged, and a message must not show a number of a thousand digits.
    if not 0 <= pid < _MAX_PID:
        return None
    return Owner(bucket, host, pid, since, run_id, inert(shard) if isinstance(shard, str) else None)


def parse_note(data: bytes) -> dict[str, Any]:
    """Return the members of a note; none for damaged contents."""
    try:
        note = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


class Wait:
    """A wait of a run for the buckets that others hold, by ``clock``.

    ``usual`` is how many seconds it takes unless the claim names another number.
    """

    def __init__(self, claim: Claim, clock: Clock, usual: float) -> None:
        seconds = usual if claim.timeout is None else claim.timeout
        self.claim = claim
        self._clock = clock
        self._until = clock() + min(seconds, claim.limit)
        self._is_told = False

    def left(self, bucket: str, owner: Owner | None, seconds: float = LOCK_SECONDS) -> float:
        """Return how many seconds the run may go on waiting, and log that once.

        ``owner`` holds the bucket for at least ``seconds`` more. Raises Busy if no time is left.
        """
        claim, who = self.claim, owner or _UNKNOWN
        left = self._until - self._clock()
        if left <= 0 or claim.is_stopped():
            raise Busy(
                f"{bucket}: another run works on this bucket: {who}",
                _ADVICE,
                owner=str(owner or ""),
                since=owner.since if owner else "",
                retry_at=datetime.fromtimestamp(claim.now(), UTC) + timedelta(seconds=seconds),
            )
        if not self._is_told:
            self._is_told = True
            until = utc_text(claim.now() + min(left, _LONGEST))
            _log.info("%s: waiting until %s for another run: %s", bucket, until, who)
        return left
