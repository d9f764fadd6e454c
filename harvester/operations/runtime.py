"""The surroundings of a verb: a clock, a project, WeChat, credentials, the user's wishes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from harvester.core import calendar
from harvester.core.config import Api, Manifest
from harvester.core.credentials import Access, Platform
from harvester.operations.platform_accounts import PlatformAtHand
from harvester.operations.record.summary import Summary
from harvester.storage.coverage_scan import Refetch
from harvester.storage.layout import Tree


class Position(NamedTuple):
    """The progress of a run.

    Windows, requests, retries and files are counts; ``seconds`` is elapsed time.
    """

    done: int
    windows: int
    requests: int
    retries: int
    files: int
    seconds: float

    @property
    def rate(self) -> float:
        """Requests per second so far."""
        return self.requests / self.seconds if self.seconds > 0 else 0.0


Watch: TypeAlias = Callable[[Callable[[], Position]], Coroutine[Any, Any, None]]
"""Shows progress until it is cancelled."""


class SteadyClock:
    """Seconds since the Unix epoch, right at the start and never stepping back.

    ``started_at`` is the moment at which a verb begins: all that it wants is wanted as of then.
    """

    def __init__(self) -> None:
        self.started_at = time.time()
        self._offset = self.started_at - time.monotonic()

    def __call__(self) -> float:
        """Return the time of now."""
        return self._offset + time.monotonic()


class Project(NamedTuple):
    """A manifest and the output tree that belongs to it; ``words`` are how a command names them."""

    manifest: Manifest
    tree: Tree
    words: str
    clock: SteadyClock
    platform: PlatformAtHand


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Wishes for one run, beyond the manifest."""

    refetch: Refetch | None = None
    shard: tuple[int, int] = (1, 1)
    max_duration: float | None = None
    ignore_spent_quota: bool = False


async def show_nothing(position: Callable[[], Position]) -> None:
    """Show no progress at all."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """Everything outside of the output: the clock, WeChat, secrets and the user's eyes.

    ``now`` is in seconds since the Unix epoch and never steps back; ``reach`` opens the way to the
    API for as long as the run needs it; ``credentials`` gives what opens an account, and
    ``platform`` is the third-party platform that some are opened through.
    """

    now: Callable[[], float]
    reach: Callable[[], AbstractAsyncContextManager[Api]]
    credentials: Callable[[str], Access]
    watch: Watch = show_nothing
    platform: Platform | None = None


def start_summary(manifest: Path, now: float) -> Summary:
    """Return the summary of a run that begins. ``now`` is in seconds since the Unix epoch."""
    return Summary(
        run_id=new_run_id(now),
        manifest=str(manifest),
        started_at=now,
        ended_at=now,
        today=calendar.today(now),
    )


def new_run_id(now: float) -> str:
    """Make a name that sorts by time: 20260131T235959Z-1a2b3c.

    Half of what follows the second is what the second has more, so that of two runs in a row the
    later one is the greater. The other half is chance.
    """
    compact = calendar.utc_text(now).replace("-", "").replace(":", "")
    return f"{compact}-{int(now % 1 * 4096):03x}{secrets.randbelow(4096):03x}"
