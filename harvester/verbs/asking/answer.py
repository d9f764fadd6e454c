"""Answer of WeChat to one question, and its differences to the published rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from harvester.core.plain import plain
from harvester.tables.row_difference import ChangedValue


@dataclass(frozen=True, slots=True)
class UnusableDay:
    """A day whose rows in the answer do not fit the columns of the dataset."""

    day: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """WeChat's answer to one window, as `harvester fetch` prints it. Nothing of it is published.

    ``outcome`` is ``"same"`` or ``"different"``, compared with the published rows, or
    ``"refused"``; then ``errcode`` is WeChat's, or None if the network or a spent quota is the
    cause. ``rows`` and ``published`` count the rows of the answer and the published ones; those
    that only one of them has are ``added`` or ``removed``. ``published_at`` is when the newest
    published row was asked, RFC 3339 in UTC. ``is_delay`` is True if WeChat was still computing the
    answer. ``answer`` is the answer itself, text if it is no JSON, and ``raw`` its bytes; secrets
    in it are masked.
    """

    appid: str
    name: str
    dataset: str
    begin_date: str
    end_date: str
    outcome: Literal["same", "different", "refused"]
    exit_code: int
    requests: int
    paused: str = ""
    rows: int = 0
    published: int = 0
    published_at: str | None = None
    is_delay: bool = False
    added: tuple[Mapping[str, Any], ...] = ()
    removed: tuple[Mapping[str, Any], ...] = ()
    changed: tuple[ChangedValue, ...] = ()
    unusable: tuple[UnusableDay, ...] = ()
    errcode: int | None = None
    errmsg: str = ""
    rid: str = ""
    meaning: str = ""
    advice: str = ""
    retry_at: str | None = None
    raw: bytes = field(default=b"", repr=False)

    @property
    def answer(self) -> Any:
        """The answer as values of JSON; text if it is no JSON, None without an answer."""
        if not self.raw:
            return None
        text = self.raw.decode(errors="replace")
        try:
            # Not as a lenient reader does, because the value is written as JSON again.
            return json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return text

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as `fetch --format json` prints it."""
        members: dict[str, Any] = plain(self)
        del members["raw"]
        return {**members, "answer": self.answer}


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
