"""An output of made-up accounts, filled from the emulator on a fixed day, with some troubles."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import harvester
from harvester.core.calendar import instant, parse_day
from harvester.runs import clock
from harvester.sandbox import TOKEN, Rules
from tests.browser.made_pages import TOWNS, TRADES, ZH_TOWNS, ZH_TRADES
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.run_harness import appid
from tests.support.sandboxes import Clock, serve_in_thread

NOON = instant(parse_day("2026-11-29"), 12 * 60)
DATASETS = "interface_summary, user_summary, user_cumulate, biz_summary, upstream_msg_week"


@contextmanager
def told(
    folder: Path,
    accounts: int,
    *,
    chinese: bool = False,
    run: Callable[[Path], object] = harvester.run,
) -> Iterator[Path]:
    """Run a manifest of so many accounts once, be in its folder at that time, and yield it.

    The third account has a wrong secret, the fifth no permission, the seventh no quota for one
    dataset, and each of their kind 40 accounts later. The ninth is paused.
    """
    world = FaultyWeChat(Rules(), Clock(NOON))
    for number in range(3, accounts + 1, 40):
        world.fail(appid(number), 40125, dataset=TOKEN)
        world.fail(appid(number + 2), 48001)
        world.fail(appid(number + 4), 45009, dataset="biz_summary")
    with (
        serve_in_thread(world) as address,
        mock.patch.dict(os.environ, {"SECRET": "a-secret-of-the-story"}),
        mock.patch.object(clock, "time", SimpleNamespace(time=Clock(NOON))),
        chdir(folder),
    ):
        manifest = Path("jobs.yaml")
        manifest.write_text(_manifest(address, accounts, chinese=chinese), "utf-8")
        run(manifest)
        yield manifest


def _manifest(address: str, accounts: int, *, chinese: bool) -> str:
    lines = "\n".join(_account(number, chinese=chinese) for number in range(1, accounts + 1))
    return f"""
api: {{base_url: "{address}"}}
defaults: {{credential: {{secret: "${{SECRET}}"}}}}
accounts:
{lines}
expect:
  all: {{complete_by: {{time: "12:00", share: 95%}}}}
  user_summary: {{min_share_with_rows: 50%}}
jobs:
  - {{datasets: [{DATASETS}], begin_date: -90d}}
limits: {{per_token: {{rate: 10000/s, burst: 100, concurrency: 1}}}}
"""


def _account(number: int, *, chinese: bool) -> str:
    towns, trades = (ZH_TOWNS, ZH_TRADES) if chinese else (TOWNS, TRADES)
    branch = f" {number // 80 + 1}" if number >= 80 else ""
    name = ("" if chinese else " ").join([towns[number % 8], trades[number // 8 % 10]]) + branch
    client, tag = ("acme", "lotus", "harbour")[number % 3], "retail" if number % 4 else "north"
    paused = ", paused: the shop is being rebuilt" if number % 60 == 9 else ""
    begun = f", begin_date: 2026-{10 + number % 2}-{1 + number % 27:02}" if number % 7 == 4 else ""
    members = f'appid: {appid(number)}, name: "{name}", tags: [{tag}]'
    return f"  - {{{members}, attributes: {{client: {client}}}{paused}{begun}}}"
