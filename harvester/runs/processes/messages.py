"""Messages between the process that shares out a run and those that harvest its shards."""

from __future__ import annotations

import io
import pickle
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from harvester.core.config.credentials import PlatformCache
from harvester.core.config.settings import Manifest
from harvester.core.secret import Secret
from harvester.runs.facts import Fact, Planned
from harvester.runs.runtime import Credentials, ReadAgain, RunOptions
from harvester.wechat.auth.token_owners import SharedToken

PAIR = struct.Struct("!qq")
"""Message of a forkserver: the number of a process or its end, and its most bytes of memory."""

UNKNOWN_END = 256
"""End of a process of which nothing is known: all codes are lower."""


class ShardTask(NamedTuple):
    """The work of one process: the first message to it.

    ``own`` are its buckets, and the manifest has their accounts. It may make ``grant`` requests,
    any number if that is None; ``plan`` was made before it holds its locks. ``started_at`` is when
    the whole run began, ``log_level`` the least level of the log lines that are passed on, and
    ``platform`` what is known of the platform. The shard of the options is that of the whole run:
    other runs compare it with their own. ``whole`` has the accounts of the buckets as no option
    narrowed them.
    """

    run_id: str
    started_at: float
    shard: str
    own: list[int]
    plan: Planned
    manifest: Manifest
    whole: Manifest
    read_again: ReadAgain
    credentials: Credentials
    options: RunOptions
    log_level: int
    grant: int | None = None
    platform: PlatformCache | None = None


class Stop(NamedTuple):
    """Order to end, with the exit code of a signal."""

    code: int


class Answered(NamedTuple):
    """Answer to the question of this number, or the error that is to be raised."""

    number: int
    value: Any = None
    error: Exception | None = None


class Logged(NamedTuple):
    """A line for the log, in which the secrets of its process are masked."""

    logger: str
    level: int
    text: str


class ClockMoved(NamedTuple):
    """Asks for a new run id after a clock correction of ``offset`` seconds in all."""

    offset: float


class TokenWanted(NamedTuple):
    """Asks for the platform's token, and not the ``rejected`` one."""

    rejected: Secret | None


@dataclass(frozen=True, slots=True)
class TokenClaimed:
    """Asks to enter the digest of a token. If two accounts have it, `SharedToken` comes first."""

    appid: str
    digest: bytes = field(repr=False)


class TokensHad(NamedTuple):
    """Asks to wait until the first tokens of all processes are entered."""


Question: TypeAlias = ClockMoved | TokenWanted | TokenClaimed | TokensHad


class Asked(NamedTuple):
    """A question, by its number."""

    number: int
    question: Question


FromShard: TypeAlias = Fact | Logged | Asked | None
"""Facts are sent as they are: what is foreign in them is safe to print. None is a sign of life."""

ToShard: TypeAlias = ShardTask | Stop | Answered | SharedToken


class _Pickler(pickle.Pickler):
    """A pickler for another process of this run, which may know the secrets of this one."""

    def reducer_override(self, value: object) -> Any:
        # By itself a secret refuses to be pickled, so that no library takes it elsewhere.
        return (Secret, (value.reveal(),)) if isinstance(value, Secret) else NotImplemented


class Channel:
    """Messages to another process of this run, and from it. Threads may send at the same time.

    ``silent`` is for counting, and is set to 0 by each message and sign of life that comes.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.silent = 0
        self._connection = connection
        self._in = connection.makefile("rb")
        self._lock = threading.Lock()

    def send(self, message: FromShard | ToShard) -> None:
        """Send a message. Raises OSError if the other process is gone."""
        # Made first: one that cannot be made must not leave a part of it on the way.
        data = io.BytesIO()
        _Pickler(data).dump(message)
        with self._lock:
            self._connection.sendall(data.getbuffer())

    def receive(self) -> Any:
        """Wait for the next message. Raises EOFError or OSError if the other process is gone."""
        message = None
        try:
            while message is None:
                message = pickle.load(self._in)  # noqa: S301 - the process is a part of this run
                self.silent = 0
            return message
        except (pickle.UnpicklingError, ValueError):
            # It died in the middle of a message, or this end was closed.
            raise EOFError from None

    def close(self) -> None:
        """End it, also for a thread that waits in `receive`."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        for each in (self._in, self._connection):
            with suppress(OSError):
                each.close()
