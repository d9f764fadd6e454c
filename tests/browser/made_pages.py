"""Pages of any size, of made-up accounts: a page of ``report`` with other facts and days in it."""

from __future__ import annotations

import json
import random
import re
import time
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import harvester
from harvester.verbs.page.cells import compressed

TOWNS = ("Harbour", "Lotus", "North Lake", "Acme", "Blue Gate", "Old Town", "Willow", "Red Bridge")
TRADES = ("Tea", "Books", "Bikes", "Bakery", "Clinic", "Cinema", "Garden", "Travel", "Toys", "Art")
ZH_TOWNS = ("港湾", "莲花", "北湖", "青门", "老城", "柳园", "红桥", "东山")
ZH_TRADES = ["茶馆", "书店", "单车", "面包房", "诊所", "影院", "花园", "旅行", "眼镜", "玩具"]
DATASETS = (
    ("interface_summary", "callbacks by day", 30),
    ("user_summary", "new followers by source", 7),
    ("user_cumulate", "followers in all", 7),
    ("upstream_msg", "messages by day", 7),
    ("biz_summary", "articles by day", 30),
    ("article_total_detail", "articles, running totals", 1),
)
NOT_WANTED, ROWS, EMPTY, YOUNG, YOUNG_EMPTY = range(5)
NOT_ASKED, NOT_READY, QUOTA, DEFERRED, REFUSED, FAILED, QUARANTINED, PAUSED = range(5, 13)
TEXTS = (
    "the calls of this day are spent. They are there again after midnight in Beijing.",
    "the permission was withdrawn. Ask the client to authorise the account again.",
)
NEWEST = date(2026, 11, 28)
MANIFEST = """
accounts:
  - {name: Acme, appid: wx9c9faad5c6a200ed, credential: {secret: "${ACME_SECRET}"}}
jobs:
  - {datasets: [interface_summary], begin_date: -7d}
"""


@dataclass
class Made:
    """Facts and cells of accounts. ``shape``: ``realistic``, or ``random``: there, or 35% empty.

    ``columns``: days, the last of which is ``NEWEST``. ``named`` replaces members of the first
    accounts. ``grain``: ``day``, ``week`` or ``month``.
    """

    accounts: int
    columns: int
    sets: int = 1
    shape: str = "realistic"
    lang: Literal["en", "zh"] = "en"
    for_client: bool = False
    made_at: float = field(default_factory=time.time)
    named: list[dict[str, Any]] = field(default_factory=list)
    grain: str = "day"

    @cached_property
    def datasets(self) -> list[tuple[int, str, str, int]]:
        """Place, name, label and span of each."""
        chosen = [DATASETS[place % len(DATASETS)] for place in range(self.sets)]
        again = [f"_{place // 6 + 1}" if place >= 6 else "" for place in range(self.sets)]
        return [(x, name + again[x], *rest) for x, (name, *rest) in enumerate(chosen)]  # type: ignore[misc]

    @cached_property
    def cells(self) -> list[list[bytes]]:
        """The state of each day, by dataset and account."""
        if self.shape == "random":
            chance = random.Random(1)
            empty = bytes(EMPTY if value < 90 else ROWS for value in range(256))
            return [
                [chance.randbytes(self.columns).translate(empty) for _ in range(self.accounts)]
                for _ in self.datasets
            ]
        return [
            [self._row(random.Random(f"{name} {x}"), x) for x in range(self.accounts)]
            for _, name, *_ in self.datasets
        ]

    def _row(self, chance: random.Random, account: int) -> bytes:
        """Return the days of an account: begun at some time, with a few gaps and a young end."""
        count = self.columns
        cells = bytearray([ROWS]) * count
        for _ in range(chance.randrange(3)):
            at = chance.randrange(count)
            cells[at : at + 4] = bytes([EMPTY]) * len(cells[at : at + 4])
        if account // 8 % 4 == 1:
            begin = random.Random(account).randrange(max(1, count // 2))
            cells[:begin] = bytes(begin)
        young = bytes([YOUNG, YOUNG, YOUNG_EMPTY if account % 6 == 0 else YOUNG])
        cells[-3:] = young[-len(cells[-3:]) :]
        if account % 23 == 15:
            cells[-40:] = bytes([PAUSED]) * len(cells[-40:])
        if gap := self._gap(account):
            first, last, state, *_ = gap
            cells[first : last + 1] = bytes([state]) * (last + 1 - first)
        return bytes(cells)

    def _gap(self, account: int) -> tuple[int, int, int, str, int | None, str | None, int] | None:
        """Return where an account has a gap, its state, and what is known of it."""
        end = self.columns - 1
        if account % 50 == 17:
            return max(0, end - 25), end, REFUSED, "refused", 48001, None, 1
        if account % 9 == 4:
            retry_at = f"{NEWEST + timedelta(days=1)}T16:05:00Z"
            return max(0, end - 5), max(0, end - 3), QUOTA, "quota", 45009, retry_at, 0
        if account % 31 == 8:
            return max(0, end - 89), max(0, end - 60), NOT_ASKED, "", None, None, 0
        if account % 61 == 9:
            return max(0, end - 12), max(0, end - 11), QUARANTINED, "quarantined", None, None, 2
        return None

    def facts(self) -> dict[str, Any]:
        """Return what the page's script reads besides the days."""
        gaps = [
            (x, gap)
            for x in range(self.accounts)
            if self.shape != "random" and (gap := self._gap(x))
        ]
        return {
            "lang": self.lang,
            "made_at": int(self.made_at),
            "begin": (NEWEST - timedelta(days=self.columns - 1)).isoformat(),
            "columns": self.columns,
            "accounts": [self._account(x) for x in range(self.accounts)],
            "datasets": [
                {"name": name, "label": label, "grain": self.grain, "span": span}
                | {"cells": f"days-{x}"}
                for x, name, label, span in self.datasets
            ],
            "causes": [
                [place, account, first, last, reason, code, retry_at, text]
                for place, *_ in self.datasets
                for account, (first, last, _, reason, code, retry_at, text) in gaps
                if reason
            ],
            "texts": ["", "", ""] if self.for_client else [*TEXTS, ""],
            "command": "" if self.for_client else "harvester run jobs.yaml",
        }

    def _account(self, index: int) -> dict[str, Any]:
        towns, trades = (ZH_TOWNS, ZH_TRADES) if self.lang == "zh" else (TOWNS, TRADES)
        parts = [
            towns[index % 8],
            trades[index // 8 % 10],
            str(index // 80 + 1) if index >= 80 else "",
        ]
        state = {REFUSED: "refused", QUOTA: "pending", NOT_ASKED: "backfilling"}
        gap = self._gap(index)
        account = {
            "appid": f"wx{index * 7919 + 0x3C5A0000:016x}",
            "name": ("" if self.lang == "zh" else " ").join(filter(None, parts)),
            "tags": ["retail"] if index % 3 else ["retail", "north"],
            "attributes": {"client": ("acme", "lotus", "harbour")[index % 3]},
            "state": state.get(gap[2], "complete") if gap else "complete",
            "paused": "moving <b>" if index % 23 == 15 else "",
        }
        return account | (self.named[index] if index < len(self.named) else {})

    def _days(self, place: int) -> str:
        """Return the cells of a dataset as the page has them: the even day in the low half."""
        rows = []
        for row in self.cells[place]:
            whole = row + b"\0" * (len(row) % 2)
            low, high = int.from_bytes(whole[::2], "big"), int.from_bytes(whole[1::2], "big")
            rows.append((low | high << 4).to_bytes(len(whole) // 2, "big"))
        return compressed(rows)

    def write(self, path: Path) -> Path:
        """Write the page."""
        manifest = path.with_name("jobs.yaml")
        manifest.write_text(MANIFEST)
        harvester.report(manifest, html=path, lang=self.lang, for_client=self.for_client)
        page = path.read_text("utf-8")
        head, facts, tail = re.split(r'(?<=id="facts">)(.*)(?=</script>\n)', page, maxsplit=1)
        facts = json.dumps({**json.loads(facts), **self.facts()}, ensure_ascii=False)
        _, _, script = tail.rpartition("<script>")
        with path.open("w", encoding="utf-8") as file:
            file.write(head + facts.replace("<", "\\u003c") + "</script>\n")
            for place, *_ in self.datasets:
                file.write(
                    f'<script type="text/plain" id="days-{place}">{self._days(place)}</script>\n'
                )
            file.write(f"<script>{script}")
        return path
