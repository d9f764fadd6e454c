"""An emulator with a clock that tests set, and a plain HTTP client of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp
from anyio.from_thread import start_blocking_portal

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day, day_text, instant, parse_day
from harvester.sandbox.call_faults import Refused
from harvester.sandbox.data import Row
from harvester.sandbox.responses import Window
from harvester.sandbox.server import serve
from tests.support.faulty_wechat import FaultyRules, FaultyWeChat

BUSY = "wx0000000000000038"
"""An account with traffic at every hour."""

QUIET = "wx0000000000000025"
"""An account with days on which nothing happens."""

TODAY = parse_day("2024-06-12")
NOON = instant(TODAY, 12 * 60)
"""Noon in Beijing on TODAY."""

MONDAY_THE_FIRST = parse_day("2026-06-01")
"""A day on which a week and a month begin, and for which all datasets have rows."""

DAILY = "/datacube/getinterfacesummary"
HOURLY = "/datacube/getinterfacesummaryhour"
STABLE = "/cgi-bin/stable_token"
PLAIN = "/cgi-bin/token"


@dataclass
class Clock:
    """A clock that stands until a test sets it."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


class Response(NamedTuple):
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded as JSON."""
        return json.loads(self.body)

    @property
    def errcode(self) -> int:
        """The errcode, 0 without an error."""
        errcode: int = self.json.get("errcode", 0)
        return errcode


@dataclass
class Client:
    """A client that sends the requests of a test, valid or not."""

    session: aiohttp.ClientSession
    address: str

    async def send(self, method: str, path: str, **kwargs: Any) -> Response:
        """Send one request; ``kwargs`` are aiohttp's."""
        async with self.session.request(method, self.address + path, **kwargs) as response:
            return Response(response.status, response.headers, await response.read())

    async def post(self, path: str, asked: object, **query: str) -> Response:
        """Send a JSON request."""
        return await self.send("POST", path, data=json.dumps(asked).encode(), params=query)

    async def ask(self, token: str, begin: str, end: str, *, path: str = DAILY) -> Response:
        """Make a data call for the days from ``begin`` to ``end``."""
        return await self.post(path, {"begin_date": begin, "end_date": end}, access_token=token)

    async def stable_token(self, appid: str, *, secret: str = "s", force: bool = False) -> Response:
        """Call the endpoint of stable tokens."""
        asked = {"appid": appid, "secret": secret, "force_refresh": force}
        return await self.post(STABLE, {"grant_type": "client_credential", **asked})

    async def plain_token(self, appid: str, *, secret: str = "s") -> Response:
        """Call the endpoint of plain tokens, where each token ends the one before."""
        query = {"grant_type": "client_credential", "appid": appid, "secret": secret}
        return await self.send("GET", PLAIN, params=query)


@asynccontextmanager
async def client_for(world: FaultyWeChat) -> AsyncIterator[Client]:
    """Serve an emulator while the block runs, and yield a client of it."""
    async with serve(world) as address, aiohttp.ClientSession() as session:
        yield Client(session, address)


def rows_answered(
    world: FaultyWeChat, dataset: str, appid: str, day: Day, asked_on: Day
) -> list[Row]:
    """Return the rows that the last call of the Beijing day ``asked_on`` gets for a day.

    Data faults apply; permissions, limits and call faults do not. A refused call gets no rows.
    """
    last_minute = instant(asked_on, 24 * 60 - 1)
    if day >= asked_on:
        return []
    try:
        return world.rows_answered(Window(CATALOGUE[dataset], appid, day, day, last_minute))
    except Refused:
        return []


def with_other_years(years: int, *, alone: bool = False) -> Callable[[list[Row]], list[Row]]:
    """Return a `Fault.alter` that adds the rows of earlier years, as WeChat sent in August 2022.

    The rows are copies dated a year of 53 weeks before each other, so that a Monday stays a Monday.
    With ``alone`` they replace the rows of the day.
    """

    def alter(rows: list[Row]) -> list[Row]:
        copies = [
            {**row, "ref_date": day_text(parse_day(row["ref_date"]) - 7 * 53 * year)}
            for year in range(1, years + 1)
            for row in rows
        ]
        return copies if alone else rows + copies

    return alter


def fake_wechat_at(now: float = NOON, **rules: Any) -> tuple[FaultyWeChat, Clock]:
    """Return an emulator with these rules, and its clock."""
    clock = Clock(now)
    return FaultyWeChat(FaultyRules(**rules), clock), clock


@contextmanager
def serve_in_thread(world: FaultyWeChat) -> Iterator[str]:
    """Serve an emulator from a thread, for clients with their own loop; yield its address."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(world)) as address,
    ):
        yield address
