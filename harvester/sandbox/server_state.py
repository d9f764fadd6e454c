"""The sandbox's WeChat: every rule of the API, without a socket and without a clock of its own.

One call goes through `World.answer` from top to bottom::

    path ─► token ─► body ─► fault ─► permission ─► limits ─► dates ─► rows ─► Reply

Where one of them objects it raises `Refused` with the errcode WeChat would answer. The catalogue's
facts (paths, spans, first days) are shared with the harvester, and nothing else: the two must be
able to disagree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NoReturn

from harvester.catalogue import CATALOGUE, RETIRED
from harvester.core.calendar import Day, today
from harvester.core.dataset import Dataset
from harvester.sandbox import platform
from harvester.sandbox.call_faults import QUOTA, TOKEN, CallFaults, Fault, Refused
from harvester.sandbox.calls import (
    Reply,
    Request,
    error_of,
    json_of,
    read_credential,
    read_object,
    read_window,
    require,
    text_of,
    with_fault,
)
from harvester.sandbox.counters import AskedWindow, Counters
from harvester.sandbox.data import expected_rows
from harvester.sandbox.data_faults import DataFault
from harvester.sandbox.limits import Limits, PeakLoad
from harvester.sandbox.platform import Platforms
from harvester.sandbox.responses import Archive, Source, Window
from harvester.sandbox.rules import Rules
from harvester.sandbox.tokens import Token, TokenServer

STABLE_TOKEN_PATH = "/cgi-bin/stable_token"
PLAIN_TOKEN_PATH = "/cgi-bin/token"
QUOTA_PATH = "/cgi-bin/openapi/quota/get"
COUNTERS_PATH = "/sandbox/counters"
RESET_PATH = "/sandbox/reset"


class FakeWeChat:
    """One WeChat with its accounts, tokens, limits and troubles.

    ``clock`` gives the seconds since the Unix epoch; it decides about Beijing days, minutes and the
    age of tokens, and may be any clock. ``source`` is the past that is served.
    """

    def __init__(
        self, rules: Rules, clock: Callable[[], float], *, source: Source = expected_rows
    ) -> None:
        self.rules = rules
        self.counters = Counters()
        self.tokens = TokenServer(rules)
        self.platforms = Platforms(rules, self.tokens, clock)
        self._clock = clock
        self._serial = 0
        self._faults = CallFaults()
        self._limits = Limits(rules)
        self._permits: dict[str, frozenset[str]] = {}
        self._archive = Archive(source, rules)
        self._endpoints: dict[str, Callable[[Request, float], Reply]] = {
            STABLE_TOKEN_PATH: self._stable_token,
            PLAIN_TOKEN_PATH: self._plain_token,
            QUOTA_PATH: self._quota,
            platform.COMPONENT_TOKEN_PATH: self._component_token,
            platform.AUTHORIZER_TOKEN_PATH: self._authorizer_token,
            platform.AUTHORIZER_LIST_PATH: self._authorizer_list,
            **{dataset.path: partial(self._data, dataset) for dataset in CATALOGUE.values()},
            **{f"/datacube/{retired.api}": self._offline for retired in RETIRED},
        }

    # What tests and other services of an account do to the world

    def fail(
        self,
        appid: str,
        fault: int | Fault,
        *,
        dataset: str | None = None,
        times: int | None = None,
    ) -> None:
        """Let calls go wrong: the next ``times``, or all of them, until `heal`.

        ``appid`` may be ANYONE. ``fault`` is an errcode or a `Fault`. ``dataset`` is a name of the
        catalogue, TOKEN or QUOTA for their endpoints, or None for every data call. Faults of the
        same calls are used up in the order they were given.
        """
        self._faults.add(
            appid, dataset, Fault(errcode=fault) if isinstance(fault, int) else fault, times
        )

    def heal(self, appid: str, *, dataset: str | None = None) -> None:
        """Take back what `fail` was told with the same appid and dataset."""
        self._faults.remove(appid, dataset)

    def add_data_fault(self, trouble: DataFault) -> None:
        """Let days be in trouble, until `relieve`."""
        self._archive.troubles.add(trouble)

    def remove_data_fault(self, trouble: DataFault) -> None:
        """Take back one trouble, one of the rules too. Raises ValueError if there is none such."""
        self._archive.troubles.remove(trouble)

    def permit(self, appid: str, families: Iterable[str]) -> None:
        """From now on an account may use the datasets of these families only; others answer 48001.

        Families are the catalogue's: user, article, message, interface. At first all are permitted.
        """
        self._permits[appid] = frozenset(families)

    def token_of(self, appid: str) -> str:
        """The stable token that any service of the account would get now, without its secret.

        Raises Refused 40013 for what cannot be an appid.
        """
        self.tokens.check_secret(appid)
        return self.tokens.stable(appid, self._clock()).text

    def peak_load(self) -> dict[str, PeakLoad]:
        """Each account's most calls within the seconds of ``window_limit``, refused ones too."""
        return self._limits.peak_load()

    def reset(self) -> None:
        """Count everything from zero again, limits included. Tokens, secrets and faults stay."""
        self.counters = Counters()
        self._limits = Limits(self.rules)

    # What clients do

    def answer(self, request: Request) -> Reply:
        """The answer to one request, which is counted and judged at this moment."""
        if request.path == COUNTERS_PATH:
            return Reply(json_of(self._report()))
        if request.path == RESET_PATH:
            return self._reset(request)
        now = self._clock()
        self.counters.requests += 1
        self._serial += 1
        try:
            reply = self._call(request, now)
        except Refused as refused:
            reply = self._error(refused.errcode, now)
        latency = self._latency()
        return reply._replace(delay=reply.delay + latency) if latency else reply

    def _call(self, request: Request, now: float) -> Reply:
        call = self._endpoints.get(request.path)
        self.counters.paths[request.path if call else "?"] += 1
        if call is None:
            return Reply(b"", 404, "text/plain")
        if request.unsized:
            return Reply(b"", 412, "text/plain")
        return call(request, now)

    # Tokens

    def _stable_token(self, request: Request, now: float) -> Reply:
        require(request, "POST")
        asked = read_object(request.body)
        forced = asked.get("force_refresh") is True
        issue = self.tokens.force if forced else self.tokens.stable
        return self._token(*read_credential(asked), issue=issue, now=now)

    def _plain_token(self, request: Request, now: float) -> Reply:
        require(request, "GET")
        return self._token(*read_credential(request.query), issue=self.tokens.plain, now=now)

    def _token(
        self, appid: str, secret: str, *, issue: Callable[[str, float], Token], now: float
    ) -> Reply:
        self.counters.token_calls[appid] += 1
        fault = self._faults.take(appid, TOKEN)
        if fault is not None and fault.replaces:
            return self._replacement(fault, now)
        self.tokens.check_secret(appid, secret)
        token = issue(appid, now)
        body = json_of({"access_token": token.text, "expires_in": token.left(now)})
        return with_fault(Reply(body), fault) if fault else Reply(body)

    def _component_token(self, request: Request, now: float) -> Reply:
        asked = self._asked(request)
        return self._to_platform(asked, "component_appid", now, self.platforms.component_token)

    def _authorizer_token(self, request: Request, now: float) -> Reply:
        asked, own = self._asked(request), request.query.get("component_access_token", "")
        tell = partial(self.platforms.authorizer_token, own=own)
        return self._to_platform(asked, "authorizer_appid", now, tell)

    def _authorizer_list(self, request: Request, now: float) -> Reply:
        asked, own = self._asked(request), request.query.get("component_access_token", "")
        tell = partial(self.platforms.authorizer_list, own=own)
        return self._to_platform(asked, "component_appid", now, tell)

    def _asked(self, request: Request) -> dict[str, Any]:
        require(request, "POST")
        return read_object(request.body)

    def _to_platform(
        self,
        asked: dict[str, Any],
        whose: str,
        now: float,
        tell: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> Reply:
        """The answer to a platform, counted for the account or platform that it is about."""
        appid = text_of(asked, whose, 41002)
        self.counters.token_calls[appid] += 1
        fault = self._faults.take(appid, TOKEN)
        if fault is not None and fault.replaces:
            return self._replacement(fault, now)
        body = json_of(tell(asked))
        return with_fault(Reply(body), fault) if fault else Reply(body)

    # Quotas

    def _quota(self, request: Request, now: float) -> Reply:
        """What an account may ask of one API today. It costs nothing of what it tells."""
        require(request, "POST")
        appid = self.tokens.holder(request.query.get("access_token", ""), now)
        path = read_object(request.body).get("cgi_path")
        dataset = next((one for one in CATALOGUE.values() if one.path == path), None)
        fault = self._faults.take(appid, QUOTA)
        if fault is not None and fault.replaces:
            return self._replacement(fault, now)
        if dataset is None:
            raise Refused(76021)
        if not self._is_permitted(appid, dataset):
            raise Refused(76022)
        quota = self._limits.quota(appid, dataset.name, now)
        told: dict[str, Any] = {
            "errcode": 0,
            "errmsg": "ok",
            "quota": {"daily_limit": quota.limit, "used": quota.used, "remain": quota.left},
        }
        if self.rules.minute_limit is not None:
            told["rate_limit"] = {"call_count": self.rules.minute_limit, "refresh_second": 60}
        reply = Reply(json_of(told))
        return with_fault(reply, fault) if fault else reply

    # Data

    def _data(self, dataset: Dataset, request: Request, now: float) -> Reply:
        require(request, "POST")
        token = self._caller(request, now)
        appid = token.appid
        begin, end = read_window(request.body)
        if self.rules.history:
            self.counters.windows[AskedWindow(appid, dataset.name, begin, end)] += 1
        fault = self._faults.take(appid, dataset.name)
        if fault is not None and fault.replaces:
            return self._replacement(fault, now)
        if not self._is_permitted(appid, dataset):
            raise Refused(48001)
        if token.platform:
            self.platforms.check_authorised(token.platform, appid, dataset.family)
        self._admit(appid, dataset, now)
        self._check(dataset, begin, end, now)
        window = Window(dataset, appid, begin, end, now)
        if fault is None:
            return Reply(self._archive.body(window))
        rows = self._archive.rows(window)
        told = self._archive.told(window, fault.alter(rows) if fault.alter else rows)
        return with_fault(Reply(told), fault)

    def _offline(self, request: Request, now: float) -> NoReturn:
        """Refuse what WeChat has retired, to callers with a good token. Raises Refused 47009."""
        require(request, "POST")
        self._caller(request, now)
        raise Refused(47009)

    def _caller(self, request: Request, now: float) -> Token:
        """Whose token it is; from here on the call counts. Raises Refused 41001, 40001 or 42001."""
        text = request.query.get("access_token")
        if not text:
            raise Refused(41001)
        token = self.tokens.find(text, now)
        self.counters.calls[token.appid] += 1
        self._limits.arrive(token.appid, now)
        return token

    def _admit(self, appid: str, dataset: Dataset, now: float) -> None:
        """Spend a call of the account, or raise Refused: over a limit, or out of luck."""
        self._limits.admit(appid, dataset.name, now)
        if self.rules.fault_rate and self._chance("fault") < self.rules.fault_rate:
            raise Refused(-1)

    def _is_permitted(self, appid: str, dataset: Dataset) -> bool:
        return dataset.family in self._permits.get(appid, (dataset.family,))

    def _check(self, dataset: Dataset, begin: Day, end: Day, now: float) -> None:
        """Raise Refused 61501 for a window that is too long, too early or not over."""
        span = self.rules.spans.get(dataset.name, dataset.span)
        if not 0 <= end - begin < span or begin < dataset.first_day or end >= today(now):
            raise Refused(61501)

    # Errors and delays

    def _error(self, errcode: int, now: float, errmsg: str = "") -> Reply:
        self.counters.errcodes[errcode] += 1
        digest = hashlib.shake_128(f"rid {self._serial}".encode()).hexdigest(8)
        rid = f"{int(now) & 0xFFFFFFFF:08x}-{digest[:8]}-{digest[8:]}"
        return Reply(error_of(errcode, rid, errmsg))

    def _replacement(self, fault: Fault, now: float) -> Reply:
        """What is sent instead of the true answer."""
        if fault.errcode is not None:
            return with_fault(self._error(fault.errcode, now, fault.errmsg), fault)
        return with_fault(Reply(fault.body or b""), fault)

    def _latency(self) -> float:
        latency = self.rules.latency
        if self.rules.latency_jitter:
            latency += self.rules.latency_jitter * self._chance("latency")
        return latency

    def _chance(self, purpose: str) -> float:
        """A number from 0 to below 1, always the same for a seed and the n-th request."""
        text = f"{purpose} {self.rules.seed} {self._serial}"
        return int.from_bytes(hashlib.shake_128(text.encode()).digest(6), "big") / (1 << 48)

    # The sandbox's own paths

    def _report(self) -> dict[str, Any]:
        worst = {appid: worst._asdict() for appid, worst in self.peak_load().items()}
        return {**self.counters.as_json(), "worst": worst}

    def _reset(self, request: Request) -> Reply:
        if request.method != "POST":
            return Reply(b"", 405, "text/plain")
        self.reset()
        return Reply(b"{}")
