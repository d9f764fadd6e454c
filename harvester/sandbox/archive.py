"""The archive: the answers to windows that are in order, made once and kept for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

from harvester.days import Day
from harvester.sandbox.calls import list_of
from harvester.sandbox.data import Row

Source: TypeAlias = Callable[[str, str, Day], list[Row]]
"""Where rows come from: (dataset name, appid, day) → rows. Must be a pure function."""


class Archive:
    """Answers by window. At most ``limit`` bytes of them are kept, those that were sent last."""

    def __init__(self, source: Source, limit: int) -> None:
        self._source = source
        self._limit = limit
        self._size = 0
        self._bodies: OrderedDict[tuple[str, str, Day, Day], bytes] = OrderedDict()

    def rows(self, dataset: str, appid: str, begin: Day, end: Day) -> list[Row]:
        """All rows of the days from ``begin`` to ``end``, both included, if there are any days."""
        return [row for day in range(begin, end + 1) for row in self._source(dataset, appid, day)]

    def body(self, dataset: str, appid: str, begin: Day, end: Day) -> bytes:
        """The same as an answer of WeChat."""
        key = (dataset, appid, begin, end)
        body = self._bodies.get(key)
        if body is not None:
            self._bodies.move_to_end(key)
            return body
        body = list_of(self.rows(dataset, appid, begin, end))
        self._keep(key, body)
        return body

    def _keep(self, key: tuple[str, str, Day, Day], body: bytes) -> None:
        self._bodies[key] = body
        self._size += len(body)
        while self._size > self._limit:
            self._size -= len(self._bodies.popitem(last=False)[1])
