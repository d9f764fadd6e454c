"""Formats of tables: what their writers have in common, and how one is loaded."""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import Any, ClassVar, NamedTuple, TypeVar

from harvester.core.calendar import Clock
from harvester.core.errors import HarvesterError, LostRace, StoreAway, StoreError, UsageError
from harvester.core.text.inert_text import inert
from harvester.core.text.redaction import redacted
from harvester.storage.backends.base import Store
from harvester.verbs.lakehouse.tables import LakeTable, Swap, TableState

T = TypeVar("T")

CALL_LIMIT = 60.0
"""Seconds after which a call to a catalog has failed."""

_HOST = re.compile(
    r"(?:^(?:postgres:)?[\w+]+://(?:[^@/]*@)?|(?:^postgres:|\s)host=)([\w.-]+)(?=[:/?\s]|$)"
)
"""Finds the host in the address of a catalog. Everything else there may be a secret."""

_AWAY = re.compile(
    r"^(?!.*( not known|certificate))(Connect\w+|ReadTimeout|\w+Unavailable\w+|Server\w+|TooMany\w+"
    r"|CommitState\w+):|onnection (refused|reset|unexpectedly)|ould not connect|sending request"
    r"|HTTP 50[234]|tim(ed |e)out|NETWORK|(start|shutt)ing (up|down)"
)
"""Matches the class and the text of an error of a catalog or a store that cannot answer now."""

_LATER = "run again; if that lasts, check the address of the catalog and the network"


class Lake(NamedTuple):
    """The place of tables: ``files`` is the store at ``place``.

    ``catalog`` and ``warehouse`` are as the format takes them, and ``schema`` is the namespace of
    the tables. ``labels`` are the buckets of the output as in names.
    """

    files: Store
    place: Path | str
    labels: Collection[str]
    catalog: str | None
    warehouse: str | None
    schema: str
    now: Clock

    def address(self, name: str) -> str:
        """Return the path or URI of a file or folder."""
        return f"{self.place}/{name}"


class Lakehouse(ABC):
    """Writer of tables in one format. Its methods raise StoreError and UsageError."""

    _ERRORS: ClassVar[tuple[type[Exception], ...]]
    """Errors of its libraries. Any other error is a bug of harvester."""

    _RACE: ClassVar[re.Pattern[str]]
    """Matches the class and the text of an error which means that another writer was faster."""

    def __init__(self, lake: Lake) -> None:
        self._lake, self._files = lake, lake.files
        address = lake.catalog or "file"
        host = _HOST.search(address)
        named = f"at {host[1]}" if host else f"({address.partition(':')[0]})"
        self._who = f"{lake.files.display_path()}: the catalog {named}"

    @classmethod
    @abstractmethod
    def check(cls, place: Path | str, catalog: str | None, warehouse: str | None) -> None:
        """Raise HarvesterError for what prevents an export there, before anything is made."""

    @abstractmethod
    def state(self, table: LakeTable) -> TableState | None:
        """Return the newest snapshot of a table, None if there is no such table.

        Raises UsageError for a table that harvester did not make, or cannot write.
        """

    @abstractmethod
    def commit(self, table: LakeTable, base: TableState | None, swap: Swap) -> str:
        """Swap files in one commit on top of ``base``; return the version that it makes.

        Makes the table where ``base`` is None, and adds columns that the table lacks. Raises
        LostRace if the table was changed since ``base``.
        """

    @abstractmethod
    def holding(self, table: LakeTable) -> list[str]:
        """Return the snapshots that can still be read and hold rows that were deleted for good.

        Only for a table whose newest state ``has_erased``.
        """

    @abstractmethod
    def expire(self, table: LakeTable) -> None:
        """Remove all snapshots of a table but the newest, and all files that it does not need."""

    def stored(self, table: str, name: str) -> str:
        """Return the name in the store of a file of a table, which may have its whole address."""
        below = name.removeprefix(self._lake.address(""))
        return f"{table}/{name}" if below == name else below

    def _lost(self, table: str, why: str = "") -> LostRace:
        where = self._files.display_path(table)
        return LostRace(f"{where}: another writer was faster{why}", "run again")

    def _refused(self, table: LakeTable, problem: str) -> UsageError:
        what = f"{self._files.display_path(table.name)}: the table there {problem}"
        return UsageError(what, "export to another place, in a catalog with another --schema")

    def _shown(self, error: Exception) -> str:
        """Return the text of a library's error, without secrets."""
        return redacted(str(error).partition("\n")[0])

    @contextmanager
    def _errors(self, table: str = "") -> Iterator[None]:
        """Raise what a library raises in the block as LostRace, StoreAway or StoreError."""
        try:
            with warnings.catch_warnings(action="ignore"):
                yield
        except HarvesterError:
            raise
        except self._ERRORS as error:
            text = inert(self._shown(error) or type(error).__name__)
            told, where = f"{type(error).__name__}: {error}", self._files.display_path(table)
            if self._RACE.search(told):
                raise self._lost(table, f", or has the catalog in use: {text}") from None
            if _AWAY.search(told):
                raise StoreAway(f"{where}: catalog or store is away: {text}", _LATER) from None
            raise StoreError(f"{where}: {text}", "see what the message names") from None


def within(limit: float, who: str, call: Callable[..., T], *given: Any, **named: Any) -> T:
    """Return what a call to a catalog returns. Raises StoreAway after ``limit`` seconds.

    The libraries limit some of their calls or none, so the call has a thread. A call that does not
    return in time cannot be ended, so its thread stays.
    """
    answer, is_late = Future[T](), Event()

    def work() -> None:
        try:
            answer.set_result(call(*given, **named))
        except BaseException as error:  # noqa: BLE001 - raised again below
            answer.set_exception(error)
        if is_late.is_set():
            # DuckDB aborts the process when a lost connection is given back.
            Event().wait()

    thread = Thread(target=work, name="catalog", daemon=True)
    thread.start()
    thread.join(limit)
    is_late.set()
    if not answer.done():
        raise StoreAway(f"{who} has not answered for {limit:g} seconds", _LATER)
    return answer.result()


def writer_of(name: str) -> type[Lakehouse]:
    """Return the writer of a format. Raises HarvesterError if its library is not installed."""
    try:
        module = import_module(f"harvester.verbs.lakehouse.{name}")
    except ModuleNotFoundError as error:
        advice = f"pip install '.[{name}]' in a clone, or the wheel with [{name}] behind its name"
        raise HarvesterError(f"{error.name} is not installed", advice) from None
    writer: type[Lakehouse] = module.Tables
    return writer
