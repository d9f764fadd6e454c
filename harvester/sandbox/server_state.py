"""The emulated WeChat: every rule of the API, without a socket and with a clock that is passed in.

One call goes through `FakeWeChat.answer` from top to bottom::

    path ─► token ─► body ─► call fault ─► permission ─► limits ─► dates ─► rows ─► Reply

A failed check raises `Refused` with the errcode that WeChat would answer. The catalogue (paths,
spans, first days) is shared with the client and nothing else is, so the two can disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, product, repeat
from typing import Any, NoReturn

from harvester.catalogue import CATALOGUE, RETIRED
from harvester.core.calendar import Clock, today
from harvester.core.dataset import Dataset, api_of
from harvester.sandbox import calls
from harvester.sandbox.call_faults import ANYONE, MESSAGES, QUOTA, TOKEN, Refused
from harvester.sandbox.data.account import digest, fraction
from harvester.sandbox.limits import Limits
from harvester.sandbox.responses import Window, rows_at
from harvester.sandbox.rules import Rules
from harvester.sandbox.tokens import Token, TokenServer

STABLE_TOKEN_PATH = "/cgi-bin/stable_token"
PLAIN_TOKEN_PATH = "/cgi-bin/token"
QUOTA_PATH = "/cgi-bin/openapi/quota/get"


class FakeWeChat:
    """An emulated WeChat with its accounts, tokens, limits and faults.

    ``now`` is its clock, which returns seconds since the Unix epoch; Beijing days, minutes and the
    age of tokens follow it. ``date_comment`` is appended to the date that answers have.
    ``requests`` is the number of all requests, ``calls`` that of data calls with a valid token by
    appid.
    """

    def __init__(self, rules: Rules, clock: Clock) -> None:
        self.rules = rules
        self.requests = 0
        self.calls = Counter[str]()
        self.tokens = TokenServer(rules.token_life, rules.token_tail)
        self.now = clock
        self.date_comment = ""
        self._faults: dict[tuple[str, str | None], Iterator[int]] = {}
        self._limits = Limits(rules)
        self._endpoints: dict[str, Callable[[calls.Request, float], bytes]] = {
            STABLE_TOKEN_PATH: self._stable_token,
            PLAIN_TOKEN_PATH: self._plain_token,
            QUOTA_PATH: self._quota,
            **{dataset.path: partial(self._data, dataset) for dataset in CATALOGUE.values()},
            **{f"/datacube/{api_of(name)}": self._offline for name in RETIRED},
        }

    # Control

    def fail(
        self, appid: str, errcode: int, *, dataset: str | None = None, times: int | None = None
    ) -> None:
        """Make calls answer an errcode: the next ``times`` calls, or all calls until `heal`.

        They are not checked then and spend no limit. ``appid`` may be ANYONE. ``dataset`` is a name
        of the catalogue, TOKEN or QUOTA for their endpoints, or None for every data call. Faults of
        the same calls are used up in the order in which they were added.
        """
        added = repeat(errcode) if times is None else repeat(errcode, times)
        self._faults[appid, dataset] = chain(self._faults.get((appid, dataset), ()), added)

    def heal(self, appid: str, *, dataset: str | None = None) -> None:
        """Remove the call faults added with the same appid and dataset."""
        self._faults.pop((appid, dataset), None)

    # Calls

    def answer(self, request: calls.Request) -> calls.Reply:
        """Answer one request as of now, and count it."""
        now = self.now()
        self.requests += 1
        try:
            reply = self._call(request, now)
        except Refused as refused:
            reply = calls.Reply(self._error(refused.errcode, now))
        latency = self.rules.latency
        return reply._replace(delay=reply.delay + latency) if latency else reply

    def _call(self, request: calls.Request, now: float) -> calls.Reply:
        endpoint = self._endpoints.get(request.path)
        if endpoint is None:
            return calls.Reply(b"", 404, "text/plain")
        if request.unsized:
            return calls.Reply(b"", 412, "text/plain")
        method = "GET" if request.path == PLAIN_TOKEN_PATH else "POST"
        if request.method != method:
            raise Refused(43001 if method == "GET" else 43002)
        return calls.Reply(endpoint(request, now))

    def _check_fault(self, appid: str, target: str) -> None:
        """Use up a fault of this call, the most specific one first. Raises Refused with it."""
        targets = (target,) if target in {TOKEN, QUOTA} else (target, None)
        for key in product((appid, ANYONE), targets):
            for errcode in self._faults.get(key, ()):
                raise Refused(errcode)

    # Tokens

    def _stable_token(self, request: calls.Request, now: float) -> bytes:
        asked = calls.read_object(request.body)
        issue = self.tokens.force if asked.get("force_refresh") is True else self.tokens.stable
        return self._token(*calls.read_credential(asked), issue=issue, now=now)

    def _plain_token(self, request: calls.Request, now: float) -> bytes:
        return self._token(*calls.read_credential(request.query), issue=self.tokens.plain, now=now)

    def _token(
        self, appid: str, secret: str, *, issue: Callable[[str, float], Token], now: float
    ) -> bytes:
        self._check_fault(appid, TOKEN)
        self.tokens.check_secret(appid, secret)
        token = issue(appid, now)
        return calls.json_of({"access_token": token.text, "expires_in": token.left(now)})

    # Quotas

    def _quota(self, request: calls.Request, now: float) -> bytes:
        """Answer an account's quota of one API, without spending any of it."""
        appid = self.tokens.find(request.query.get("access_token", ""), now).appid
        path = calls.read_object(request.body).get("cgi_path")
        self._check_fault(appid, QUOTA)
        dataset = next((one for one in CATALOGUE.values() if one.path == path), None)
        if dataset is None:
            raise Refused(76021)
        quota = self._limits.quota(appid, dataset.name, now)
        body: dict[str, Any] = {"errcode": 0, "errmsg": "ok", "quota": quota}
        if self.rules.minute_limit is not None:
            body["rate_limit"] = {"call_count": self.rules.minute_limit, "refresh_second": 60}
        return calls.json_of(body)

    # Data

    def _data(self, dataset: Dataset, request: calls.Request, now: float) -> bytes:
        token = self._caller(request, now)
        window = Window(dataset, token.appid, *calls.read_window(request.body), now)
        self._check_fault(token.appid, dataset.name)
        return self._body(window)

    def _body(self, window: Window) -> bytes:
        """Return the answer to a window. Raises Refused for the first check that fails."""
        dataset, appid, begin, end, now = window
        self._limits.admit(appid, dataset.name, now)
        if fraction(f"fault {self.rules.seed} {self.requests}") < self.rules.fault_rate:
            raise Refused(-1)
        if not 0 <= end - begin < dataset.span or begin < dataset.first_day or end >= today(now):
            raise Refused(61501)
        return self._answer(window)

    def _answer(self, window: Window) -> bytes:
        """Return the answer to a valid window."""
        dataset, days = window.dataset, range(window.begin, window.end + 1)
        rows = rows_at(window.now, dataset, window.appid, days)
        return calls.list_of(rows, is_delay=False if dataset.may_be_delayed else None)

    def _offline(self, request: calls.Request, now: float) -> NoReturn:
        """Refuse an API that WeChat has retired. Raises Refused 47009 for a valid token."""
        self._caller(request, now)
        raise Refused(47009)

    def _caller(self, request: calls.Request, now: float) -> Token:
        """Return the token of a data call, and count the call. Raises Refused for a bad token."""
        text = request.query.get("access_token")
        if not text:
            raise Refused(41001)
        token = self.tokens.find(text, now)
        self.calls[token.appid] += 1
        return token

    # Errors

    def _error(self, errcode: int, now: float, errmsg: str = "") -> bytes:
        """Return an error; the id of the request follows WeChat's message, or ``errmsg``."""
        random = digest(f"rid {self.requests}", 8).hex()
        rid = f"{int(now) & 0xFFFFFFFF:08x}-{random[:8]}-{random[8:]}"
        message = errmsg or MESSAGES.get(errcode, "system error")
        return calls.json_of({"errcode": errcode, "errmsg": f"{message} rid: {rid}"})
