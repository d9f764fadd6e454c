"""What a world was asked, for tests and for whoever reads ``GET /sandbox/counters``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from harvester.core.calendar import Day, day_text


class AskedWindow(NamedTuple):
    """One window that was asked, right or wrong, both days included."""

    appid: str
    dataset: str
    begin: Day
    end: Day


@dataclass(slots=True)
class Counters:
    """Everything is counted when a request arrives, ``errcodes`` when it is answered.

    ``paths`` has the paths the sandbox knows, all others under ``?``. ``calls`` are data calls that
    showed a valid token, ``token_calls`` calls of either token endpoint, both by appid. ``windows``
    stays empty unless the rules keep a history.
    """

    requests: int = 0
    paths: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    token_calls: Counter[str] = field(default_factory=Counter)
    errcodes: Counter[int] = field(default_factory=Counter)
    windows: Counter[AskedWindow] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """The same as JSON can say it; windows as [appid, dataset, begin, end, times]."""
        return {
            "requests": self.requests,
            "paths": dict(self.paths),
            "calls": dict(self.calls),
            "token_calls": dict(self.token_calls),
            "errcodes": {str(errcode): count for errcode, count in self.errcodes.items()},
            "windows": [
                [asked.appid, asked.dataset, day_text(asked.begin), day_text(asked.end), times]
                for asked, times in self.windows.items()
            ],
        }
