"""The emulator of WeChat for tests: a server on this machine that answers like the datacube API."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pyarrow as pa
from anyio.from_thread import start_blocking_portal

from harvester.catalogue import CATALOGUE, unknown_dataset
from harvester.core import calendar, readiness
from harvester.core.calendar import EMULATED
from harvester.core.config import parsers
from harvester.core.dataset import Dataset
from harvester.core.errors import UsageError
from harvester.core.model import Window
from harvester.readers.arrow_dataset import days_between
from harvester.sandbox import FakeWeChat, Rules, rows_at
from harvester.sandbox.server import serve
from harvester.verbs import arguments
from harvester.verbs.fetch import table_of_answer

__all__ = ["Sandbox", "sandbox"]

_NOON = 12 * 60


class Sandbox(NamedTuple):
    """An emulator that is being served. ``url`` is its address, ``accounts`` are its appids."""

    url: str
    accounts: tuple[str, ...]
    server: FakeWeChat
    secret_file: Path

    @property
    def requests(self) -> int:
        """The number of calls so far, those for tokens included."""
        return self.server.requests

    @arguments.checked
    def manifest(
        self,
        datasets: Sequence[str] = ("interface_summary",),
        *,
        begin_date: str | date = "-30d",
        end_date: str | date = "yesterday",
        output: str = "output",
    ) -> dict[str, Any]:
        """Return a manifest of all accounts as a mapping, with a rate limit that is never met."""
        credential = {"secret": f"${{file:{self.secret_file}}}"}
        days = {"begin_date": str(begin_date), "end_date": str(end_date)}
        return {
            "version": 1,
            "api": {"base_url": self.url},
            "accounts": [{"appid": appid, "credential": credential} for appid in self.accounts],
            "jobs": [{"datasets": list(datasets), **days}],
            "limits": {"per_token": {"rate": "1000/s", "burst": 100}},
            "output": output,
        }

    @arguments.checked
    def expected(
        self, dataset: str, begin_date: str | date = "-30d", end_date: str | date = "yesterday"
    ) -> pa.Table:
        """Return the rows that a harvest of these Beijing days must find now.

        The default days are the defaults of `manifest`. Columns, their types and the order of rows
        are as in the files of a month, but without the provenance. Raises UsageError for an unknown
        dataset and an invalid day.
        """
        known = CATALOGUE.get(dataset)
        if known is None:
            raise UsageError(*unknown_dataset(dataset))
        now = self.server.now()
        first, last = days_between(begin_date, end_date, now)
        newest = readiness.newest_ready(known, now)
        begin, end = first or known.first_day, min(last or newest, newest)
        return pa.concat_tables(
            self._expected(known, Window(appid, dataset, begin, end)) for appid in self.accounts
        )

    def _expected(self, dataset: Dataset, window: Window) -> pa.Table:
        days = range(window.begin, window.end + 1)
        rows = rows_at(self.server.now(), dataset, window.appid, days)
        found = table_of_answer(dataset, window, json.dumps({"list": rows}).encode())
        return found.drop_columns(["_fetched_at", "_run_id", "_extra"])

    @arguments.checked
    def fail(
        self, appid: str, errcode: int, *, dataset: str | None = None, times: int | None = None
    ) -> None:
        """Make calls of an account (``*`` for all) answer an errcode, so many times."""
        self.server.fail(appid, errcode, dataset=dataset, times=times)

    @arguments.checked
    def heal(self, appid: str, *, dataset: str | None = None) -> None:
        """Remove the faults of the same calls."""
        self.server.heal(appid, dataset=dataset)


@arguments.checked
@contextmanager
def sandbox(
    *,
    accounts: int = 3,
    today: str | date | None = None,
    faults: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Iterator[Sandbox]:
    """Serve an emulator of WeChat while the block runs.

    Args:
        accounts: The number of accounts.
        today: The Beijing day that it is there, from its noon on; that of this machine by default.
            A run goes by the emulator's time.
        faults: Errcodes that data calls answer, by appid; ``*`` stands for all accounts.
        seed: Determines what is random.
    """
    if accounts < 1:
        raise UsageError(f"accounts `{accounts}` is not a number from 1 on", "write 3")
    start = begun = time.time()
    if today is not None:
        start = calendar.instant(parsers.option_value("today", str(today), parsers.day), _NOON)
    server = FakeWeChat(Rules(seed=seed), lambda: start + time.time() - begun)
    # A run goes by it, and is not told that the clock of this machine is wrong.
    server.date_comment = "" if today is None else EMULATED
    for appid, errcode in (faults or {}).items():
        server.fail(appid, errcode)
    names = tuple(f"wx{number:016x}" for number in range(1, accounts + 1))
    with (
        TemporaryDirectory(prefix="harvester-sandbox-") as folder,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(server)) as url,
    ):
        secret = Path(folder) / "secret"
        secret.write_text("sandbox")
        secret.chmod(0o600)
        yield Sandbox(url, names, server, secret)
