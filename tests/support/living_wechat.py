"""An emulated WeChat that answers by `Life`, in the process of the run and without sockets.

It counts what each call brings: an answer brings news if it has a row that is new or changed.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

from harvester.core.calendar import Clock, Day
from harvester.core.errors import NotConnected
from harvester.core.secret import Secret
from harvester.sandbox import FakeWeChat, Rules
from harvester.sandbox.call_faults import Refused
from harvester.sandbox.calls import Request, date_text, json_of, list_of
from harvester.sandbox.responses import Window
from harvester.sandbox.tokens import Token
from tests.support.fake_time import FakeNetwork
from tests.support.wechat_life import Life

_EMPTY = zlib.crc32(b"")


class Answered(NamedTuple):
    """A window that was answered; ``sums`` has a checksum of the rows of each day.

    ``is_hushed`` is True if the answer was empty by chance.
    """

    dataset: str
    appid: str
    begin: Day
    sums: tuple[int, ...]
    is_hushed: bool = False

    @property
    def days(self) -> range:
        """The days of the window."""
        return range(self.begin, self.begin + len(self.sums))


def brings_rows(answer: Answered, known: dict[tuple[str, str, Day], int]) -> bool:
    """Return whether an answer has a row that is new or changed, and add what it has."""
    brought = False
    for day, found in zip(answer.days, answer.sums, strict=True):
        key = answer.dataset, answer.appid, day
        brought |= known.get(key, _EMPTY) != found
        known[key] = found
    return brought


class LivingWeChat(FakeWeChat):
    """An emulated WeChat; ``answered`` has the windows that it answered."""

    def __init__(self, life: Life, clock: Clock) -> None:
        super().__init__(Rules(), clock)
        self.answered: list[Answered] = []
        self._life = life
        self._asked: Counter[tuple[str, str, Day]] = Counter()

    def _answer(self, window: Window) -> bytes:
        """Return the answer to a window, as the life has it at the moment of the call."""
        name, sums, rows, is_delayed = window.dataset.name, [], [], False
        place = name, window.appid, window.end
        is_hushed = self._life.is_hushed(*place, window.now, self._asked[place])
        self._asked[place] += 1
        for day in range(window.begin, window.end + 1):
            if is_hushed:
                sums.append(_EMPTY)
                continue
            found, marked = self._life.shown(name, window.appid, day, window.now)
            sums.append(zlib.crc32(json_of(found)) if found else _EMPTY)
            rows += found
            is_delayed |= marked
        self.answered.append(Answered(name, window.appid, window.begin, tuple(sums), is_hushed))
        return list_of(rows, is_delay=is_delayed if window.dataset.may_be_delayed else None)

    def _token(
        self, appid: str, secret: str, *, issue: Callable[[str, float], Token], now: float
    ) -> bytes:
        if self._life.is_lost(appid, now):
            raise Refused(40125)
        return super()._token(appid, secret, issue=issue, now=now)


class WrongDates(NamedTuple):
    """Headers ``Date`` that are wrong by ``seconds``: the ``first`` ones, and each ``nth`` one."""

    seconds: float = 0.0
    first: int = 0
    nth: int = 0

    def at(self, place: int) -> float:
        """Return by how many seconds the answer of this place, from 0, is wrong."""
        is_wrong = place < self.first or (self.nth and place % self.nth == 0)
        return self.seconds if is_wrong else 0.0


@dataclass
class LivingNetwork(FakeNetwork):
    """A network to a living WeChat; ``seconds`` is the CPU time that WeChat itself took.

    A call takes ``slow`` virtual seconds.
    """

    _: KW_ONLY
    wechat: LivingWeChat
    dates: WrongDates
    seconds: float = 0.0
    is_down: bool = False
    slow: float = 0.0
    _answers: int = 0

    async def post(self, path: str, body: bytes, token: Secret | None) -> tuple[int, bytes]:
        """Make one call as `Transport.post` does."""
        # So that calls of several workers are in flight together.
        await asyncio.sleep(self.slow)
        if self.is_down:
            raise NotConnected("127.0.0.1:9: connection refused")
        query = {"access_token": token.reveal()} if token else {}
        began = time.process_time()
        reply = self.wechat.answer(Request("POST", path, query, body))
        self.seconds += time.process_time() - began
        return reply.status, reply.body

    def date(self) -> str:
        """Return the header of the next answer."""
        wrong = self.dates.at(self._answers)
        self._answers += 1
        return date_text(int(self.harness.now() + wrong))
