"""An emulator whose answers tests spoil: any body, any rows, broken connections, late days.

A call fault answers the calls to come. A data fault hits days of accounts and datasets: the rules
have it from the start, or `FaultyWeChat.add_data_fault` adds it later, and it always hits the same
days, so a run can be repeated.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import NamedTuple, TypeAlias, cast

import orjson

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import FIRST_DAY, Clock, Day, instant, today
from harvester.core.dataset import Dataset
from harvester.sandbox import FakeWeChat, Rules
from harvester.sandbox.call_faults import TOKEN, Refused
from harvester.sandbox.calls import (
    JSON,
    Reply,
    Request,
    date_text,
    json_of,
    list_of,
    read_object,
    read_window,
    text_of,
)
from harvester.sandbox.data import Row, expected_rows, period_of
from harvester.sandbox.data.account import fraction
from harvester.sandbox.responses import READY_MINUTES, Window, grown_so_far
from harvester.sandbox.tokens import Token
from tests.support.counting_wechat import CountingWeChat, StrictRules
from tests.support.emulated_platform import MESSAGES, Endpoint, Platforms
from tests.support.preliminary_figures import preliminary

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""The value of SO_LINGER with which a close resets the connection."""


# Calls


class Wire(Enum):
    """Part of an answer that the connection carries."""

    WHOLE = "the whole answer"
    CLOSE = "nothing; it is closed"
    RESET = "nothing; it is reset"
    CUT = "the head and half of the body, then it is closed"
    GARBAGE = "bytes that are not HTTP, then it is closed"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one call.

    ``errcode`` or ``body`` replaces the answer; the call is not checked then and spends no limit.
    ``alter`` rewrites the rows of the answer. All other fields change how the answer is sent.

    Attributes:
        errcode: Answers this error.
        errmsg: Replaces WeChat's usual message for the errcode.
        status: HTTP status.
        body: Answers these bytes.
        content_type: Sent unchanged.
        alter: Gets the rows, and returns the rows to send.
        delay: Seconds before the answer, in addition to the latency.
        wire: Part of the answer that is sent.
    """

    errcode: int | None = None
    errmsg: str = ""
    status: int = 200
    body: bytes | None = None
    content_type: str = JSON
    alter: Callable[[list[Row]], list[Row]] | None = None
    delay: float = 0.0
    wire: Wire = Wire.WHOLE


_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)
BAD_GATEWAY = Fault(status=502, body=_PAGE, content_type="text/html")
HTML_PAGE = Fault(body=_PAGE, content_type="text/html; charset=gbk")
EMPTY_BODY = Fault(body=b"", content_type="text/html; charset=gbk")
EMPTY_OBJECT = Fault(body=b"{}")
NULL_LIST = Fault(body=b'{"list":null}')
CLOSED = Fault(wire=Wire.CLOSE)
RESET = Fault(wire=Wire.RESET)
CUT = Fault(wire=Wire.CUT)
GARBAGE = Fault(wire=Wire.GARBAGE)


@dataclass(frozen=True, slots=True)
class Break:
    """A break of the connection: the `Reply.raw` of a broken answer."""

    wire: Wire
    fragment: bytes = b""

    def __call__(self, transport: asyncio.Transport) -> None:
        """Send the fragment, and break the connection off if it is to be reset."""
        transport.write(self.fragment)
        if self.wire is Wire.RESET:
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
            )
            transport.abort()


def head_of(reply: Reply, date: str, *fields: str) -> bytes:
    """Return the head of a response with further fields, for what is written raw."""
    lines = (f"HTTP/1.1 {reply.status} OK", f"Content-Type: {reply.content_type}", f"Date: {date}")
    return "\r\n".join((*lines, *fields, "", "")).encode()


def broken(reply: Reply, wire: Wire, now: float) -> Reply:
    """Return a reply of which a part is sent."""
    fragment = b""
    if wire is Wire.WHOLE:
        return reply
    if wire is Wire.GARBAGE:
        fragment = b"\x16\x03\x01 no HTTP at all\r\n\r\n"
    elif wire is Wire.CUT:
        head = head_of(reply, date_text(now), f"Content-Length: {len(reply.body)}")
        fragment = head + reply.body[: len(reply.body) // 2]
    return reply._replace(raw=Break(wire, fragment))


def wire_of(reply: Reply) -> Wire:
    """Return the part of a reply that the connection carries."""
    return reply.raw.wire if isinstance(reply.raw, Break) else Wire.WHOLE


# Days


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFault:
    """The days that a fault hits; a field that is left out does not narrow them.

    Attributes:
        appid: Hits this account alone.
        datasets: Hits these datasets alone.
        begin: First day of data; a week or a month counts as its first day.
        end: Last day of data.
        share: Share of the days of each account and dataset, from 0 to 1, chosen by the seed of the
            rules. Two faults of one kind and share hit the same days; a smaller share hits some of
            the days of a larger one.
    """

    appid: str = ""
    datasets: tuple[str, ...] = ()
    begin: Day = FIRST_DAY
    end: Day = 1 << 31
    share: float = 1.0

    def hits(self, appid: str, dataset: str, day: Day, *, seed: int) -> bool:
        """Return whether the fault hits a day of an account's dataset."""
        chance = f"{type(self).__name__} {seed} {appid} {dataset} {day}"
        return (
            self.begin <= day <= self.end
            and self.appid in {"", appid}
            and (not self.datasets or dataset in self.datasets)
            and (self.share >= 1 or fraction(chance) < self.share)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Late(DataFault):
    """Rows that appear ``days`` later than usual, ``minutes`` after midnight.

    Without ``minutes`` they appear at the usual minute. Until then the answer leaves the day out,
    or with ``unready`` the whole window answers 61503.
    """

    days: int = 0
    minutes: int | None = None
    unready: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage(DataFault):
    """Days that are answered without rows until the fault is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revised(DataFault):
    """Preliminary figures: too small, other ones on each day of asking, sometimes a row missing.

    They are final once the period is more than ``days`` days old; without ``days``, once the
    catalogue calls the dataset settled.
    """

    days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delayed(DataFault):
    """Answers with ``"is_delay"`` true while one of their periods is at most ``days`` days old.

    Their figures are preliminary, as with `Revised`. Datasets without ``"is_delay"`` are not hit.
    """

    days: int = 1


@dataclass(frozen=True, slots=True)
class FaultyRules(StrictRules):
    """The rules of an emulator with faults.

    Attributes:
        ready_minutes: Minutes after midnight at which the rows of the day before appear.
        unready: Whether a window with a day that is not ready answers 61503. Otherwise the answer
            leaves the day out.
        spans: Maximum days of a window by dataset where it is not the catalogue's; more days answer
            61501.
        delay_text: Whether ``"is_delay"`` is a string, as seen in some answers, and not a boolean.
        data_faults: Data faults from the start.
    """

    ready_minutes: int = READY_MINUTES
    unready: bool = False
    spans: Mapping[str, int] = field(default_factory=dict, hash=False)
    delay_text: bool = False
    data_faults: tuple[DataFault, ...] = ()


Source: TypeAlias = Callable[[str, str, Day], list[Row]]
"""A pure function from (dataset name, appid, day) to the final rows of that day."""


class FaultyArchive:
    """Answers by window: the rows of a source, as data faults leave them."""

    def __init__(self, source: Source, rules: Rules) -> None:
        self._source = source
        self._seed = rules.seed
        self._faulty = rules if isinstance(rules, FaultyRules) else FaultyRules()
        self.data_faults = list(self._faulty.data_faults)

    def body(self, window: Window) -> bytes:
        """Return the answer's body. Raises Refused 61503."""
        rows = self.rows(window)
        if not window.dataset.may_be_delayed:
            return list_of(rows)
        is_delay = any(
            isinstance(fault, Delayed) and today(window.now) - day <= fault.days
            for day in range(window.begin, window.end + 1)
            for fault in self._faults_of(window, day)
        )
        text = str(is_delay).lower() if self._faulty.delay_text else is_delay
        return list_of(rows, is_delay=text)

    def rows(self, window: Window) -> list[Row]:
        """Return the rows of the answer. Raises Refused 61503."""
        return [
            row for day in range(window.begin, window.end + 1) for row in self._day(window, day)
        ]

    def _faults_of(self, window: Window, day: Day) -> list[DataFault]:
        dataset = window.dataset.name
        return [f for f in self.data_faults if f.hits(window.appid, dataset, day, seed=self._seed)]

    def _day(self, window: Window, day: Day) -> list[Row]:
        """Return the rows of one day as they are at the moment of the call."""
        dataset, now = window.dataset, window.now
        period = period_of(dataset.grain, day)
        faults = self._faults_of(window, day)
        if not period or not self._is_ready(period[-1], faults, now):
            return []
        if any(isinstance(fault, Outage) for fault in faults):
            return []
        rows = self._source(dataset.name, window.appid, day)
        ready = today(now - 60.0 * self._faulty.ready_minutes)
        rows = grown_so_far(rows, dataset, ready)
        age = today(now) - period[-1]
        if age <= max(_preliminary_days(dataset, fault) for fault in (None, *faults)):
            chance = f"{dataset.name} {window.appid} {day} {today(now)}"
            return preliminary(rows, age=age, chance=chance)
        return rows

    def _is_ready(self, last: Day, faults: list[DataFault], now: float) -> bool:
        """Return whether a period has its rows. Raises Refused 61503 if that is an error."""
        usual, refuses = self._faulty.ready_minutes, self._faulty.unready
        ready_at = instant(last + 1, usual)
        for late in faults:
            if isinstance(late, Late):
                minutes = usual if late.minutes is None else late.minutes
                late_at = instant(last + 1 + late.days, minutes)
                # Of several late faults the latest decides, also about the error.
                if late_at > ready_at:
                    ready_at, refuses = late_at, late.unready or self._faulty.unready
        if now < ready_at and refuses:
            raise Refused(61503)
        return now >= ready_at


PRELIMINARY_DAYS = {"biz_summary": 7}
"""Days for which the figures of a dataset are always preliminary."""


def _preliminary_days(dataset: Dataset, fault: DataFault | None) -> int:
    """Return for how many days figures are preliminary under a fault, or without one (None)."""
    if fault is None:
        return PRELIMINARY_DAYS.get(dataset.name, 0)
    if isinstance(fault, Revised):
        return dataset.settle if fault.days is None else fault.days
    return fault.days if isinstance(fault, Delayed) and dataset.may_be_delayed else 0


# The emulator


class AskedWindow(NamedTuple):
    """One window that was asked for, valid or not; both days are included."""

    appid: str
    dataset: str
    begin: Day
    end: Day


class FaultyWeChat(CountingWeChat):
    """An emulated WeChat with faults and platforms; ``source`` has the final rows of every day.

    ``windows`` counts every window that was asked for with a valid token.
    """

    def __init__(self, rules: Rules, clock: Clock, *, source: Source = expected_rows) -> None:
        super().__init__(rules, clock)
        self._permits: dict[str, frozenset[str]] = {}
        self._archive = FaultyArchive(source, rules)
        self._fault: Fault | None = None
        self.windows = Counter[AskedWindow]()
        self.platforms = Platforms(rules, self.tokens, clock)
        for path, endpoint in self.platforms.endpoints.items():
            self._endpoints[path] = partial(self._platform_call, *endpoint)

    def fail(
        self,
        appid: str,
        errcode: int | Fault,
        *,
        dataset: str | None = None,
        times: int | None = None,
    ) -> None:
        """Make calls fail as `FakeWeChat.fail`, also by a `Fault`."""
        fault = Fault(errcode=errcode) if isinstance(errcode, int) else errcode
        super().fail(appid, cast("int", fault), dataset=dataset, times=times)

    def add_data_fault(self, fault: DataFault) -> None:
        """Add a data fault, which stays until `remove_data_fault`."""
        self._archive.data_faults.append(fault)

    def remove_data_fault(self, fault: DataFault) -> None:
        """Remove a data fault, also one of the rules. Raises ValueError if there is none such."""
        self._archive.data_faults.remove(fault)

    def permit(self, appid: str, families: Iterable[str]) -> None:
        """Limit an account to the datasets of these families; the others answer 48001.

        Families are the catalogue's: user, article, message, interface. All are permitted at first.
        """
        self._permits[appid] = frozenset(families)

    def token_of(self, appid: str) -> str:
        """Return the token of `token_of`."""
        return token_of(self, appid)

    def rows_answered(self, window: Window) -> list[Row]:
        """Return the rows of a window. Raises Refused 61503 if a day is not ready."""
        return self._archive.rows(window)

    def _check_fault(self, appid: str, target: str) -> None:
        try:
            super()._check_fault(appid, target)
        except Refused as refused:
            self._fault = cast("Fault", refused.errcode)
            if self._fault.errcode is not None or self._fault.body is not None:
                raise

    def _call(self, request: Request, now: float) -> Reply:
        try:
            reply = self._call_or_fault(request, now)
            return reply if self._fault is None else self._spoiled(reply.body, self._fault, now)
        finally:
            self._fault = None

    def _call_or_fault(self, request: Request, now: float) -> Reply:
        """Return a whole answer, or an empty one to a call that its fault ended."""
        try:
            return super()._call(request, now)
        except Refused as refused:
            if cast("object", refused.errcode) is not self._fault:
                raise
            return Reply(b"")

    def _spoiled(self, body: bytes, fault: Fault, now: float) -> Reply:
        if fault.errcode is not None:
            body = self._error(fault.errcode, now, fault.errmsg)
        elif fault.body is not None:
            body = fault.body
        if fault.alter:
            told = orjson.loads(body)
            body = json_of({**told, "list": fault.alter(told["list"])})
        return broken(Reply(body, fault.status, fault.content_type, fault.delay), fault.wire, now)

    def _error(self, errcode: int, now: float, errmsg: str = "") -> bytes:
        return super()._error(errcode, now, errmsg or MESSAGES.get(errcode, ""))

    def reset(self) -> None:
        """Reset the windows too."""
        super().reset()
        self.windows.clear()

    def _platform_call(
        self, subject: str, endpoint: Endpoint, request: Request, _now: float
    ) -> bytes:
        """Answer a platform; the call counts for the appid in the member ``subject``."""
        asked = read_object(request.body)
        appid = text_of(asked, subject, 41002)
        own_token = request.query.get("component_access_token", "")
        self.counters.token_calls[appid] += 1
        self._check_fault(appid, TOKEN)
        return json_of(endpoint(asked, own_token))

    def _data(self, dataset: Dataset, request: Request, now: float) -> bytes:
        with suppress(Refused):
            appid = self.tokens.find(request.query.get("access_token", ""), now).appid
            self.windows[AskedWindow(appid, dataset.name, *read_window(request.body))] += 1
        return super()._data(dataset, request, now)

    def _quota(self, request: Request, now: float) -> bytes:
        appid = self.tokens.find(request.query.get("access_token", ""), now).appid
        path = read_object(request.body).get("cgi_path")
        for dataset in CATALOGUE.values():
            if dataset.path == path and not self._is_permitted(appid, dataset):
                raise Refused(76022)
        return super()._quota(request, now)

    def _caller(self, request: Request, now: float) -> Token:
        token = super()._caller(request, now)
        self.platforms.check_authorised(token)
        return token

    def _body(self, window: Window) -> bytes:
        if not self._is_permitted(window.appid, window.dataset):
            raise Refused(48001)
        body = super()._body(window)
        spans = self.rules.spans if isinstance(self.rules, FaultyRules) else {}
        if window.end - window.begin >= spans.get(window.dataset.name, window.dataset.span):
            raise Refused(61501)
        return body

    def _answer(self, window: Window) -> bytes:
        return self._archive.body(window)

    def _is_permitted(self, appid: str, dataset: Dataset) -> bool:
        return dataset.family in self._permits.get(appid, (dataset.family,))


def token_of(wechat: FakeWeChat, appid: str) -> str:
    """Return an account's stable token, as any client with the secret would get it."""
    return wechat.tokens.stable(appid, wechat.now()).text


def revoke_authorisation(wechat: FaultyWeChat, platform: str, account: str) -> None:
    """Revoke an account's authorisation of a platform."""
    del wechat.platforms._platforms[platform].accounts[account]


def refresh_token_of(wechat: FaultyWeChat, platform: str, account: str) -> str:
    """Return the refresh token that is valid now."""
    return str(wechat.platforms._platforms[platform].accounts[account]["refresh_token"])


def platform_token_of(wechat: FaultyWeChat, platform: str) -> str:
    """Return a new token of the platform itself, without its secret and ticket."""
    return wechat.tokens.plain(platform, wechat.now()).text
