"""Make an output tree with everything in it that commit 0b40bbf writes.

Run it with the code of that commit; README.md in tree-0b40bbf says how. The folder named as its
only argument must hold jobs.yaml and platform.yaml.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harvester.cli import invoke
from harvester.core.calendar import Day, instant, parse_day
from harvester.sandbox import FakeWeChat, Row, Rules, expected_rows
from harvester.storage import forced
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import Tree
from tests.support.sandboxes import serve_in_thread

QUOTA = 24
BUSY = "wx0000000000000001"
UNFIT = ("user_summary", "wx0000000000000003", parse_day("2026-04-29"))
PLATFORM = "wx00000000000000ff"
DIED = 9

Setting = Callable[[FakeWeChat], Any]


def source(dataset: str, appid: str, day: Day) -> list[Row]:
    """Give the sandbox's rows, one of them with a text where a count belongs."""
    rows = expected_rows(dataset, appid, day)
    return [{**row, "new_user": "many"} for row in rows] if (dataset, appid, day) == UNFIT else rows


def act(moment: str, *words: str, kill: tuple[str, int] = ("", 0), before: Setting = id) -> int:
    """Run one command line at a moment in Beijing in a child, and return its exit code.

    ``kill`` ends the child as ``kill -9`` does, before the Nth rename to a matching name.
    ``before`` prepares the sandbox.
    """
    child = os.fork()
    if not child:
        _set_clock(moment)
        _die_before(*kill)
        world = FakeWeChat(Rules(daily_quota=QUOTA, latency=0.1), time.time, source=source)
        with serve_in_thread(world) as address:
            before(world)
            os.environ.update(WECHAT=address, SECRET="old-tree")
            os._exit(invoke(words))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _set_clock(moment: str) -> None:
    day, _, hour = moment.partition(" ")
    shift = instant(parse_day(day), 60 * int(hour)) - time.time()
    real = time.time
    time.time = lambda: real() + shift
    socket.gethostname = lambda: "host"


def _die_before(pattern: str, count: int) -> None:
    real = Path.replace
    left = count

    def mortal(self: Path, target: Path) -> Path:
        nonlocal left
        if count and re.search(pattern, str(target)):
            left -= 1
            if not left:
                os._exit(DIED)
        return real(self, target)

    Path.replace = mortal


def damage(path: Path) -> None:
    """Flip the bits of a byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)


def authorise(world: FakeWeChat) -> None:
    """Let three accounts authorise the platform, two of them unknown to jobs.yaml."""
    world.platforms.register(PLATFORM, "old-tree")
    for number in (1, 0xA1, 0xA2):
        world.platforms.authorise(PLATFORM, f"wx{number:016x}")
    os.environ["TICKET"] = world.platforms.push_ticket(PLATFORM)


def reject(world: FakeWeChat) -> None:
    """Reject two tokens in a row: the third is asked for by force."""
    world.fail(BUSY, 40001, times=2)


def make(output: Path) -> None:
    """Let a harvester work, be killed and find damage for three days."""
    assert act("2026-05-08 12", "run", kill=(r"\.parquet", 1)) == DIED
    damage(max(output.glob("_harvester/raw/*/0001-*.group")))
    assert act("2026-05-08 13", "run") == 3
    damage(output / "user_summary/ref_month=2026-03/part-0000-of-0002.parquet")
    assert act("2026-05-09 12", "verify", "--read-data", "--repair") == 3
    fresh = ("--to", "fresh", "--buckets", "3")
    assert act("2026-05-10 12", "compact", *fresh, kill=(r"fresh/.*\.parquet", 4)) == DIED
    journal = Path("fresh/_harvester/compact.json")
    journal.write_text(journal.read_text().replace(str(output.resolve()), "SOURCE"))
    assert act("2026-05-10 13", "check") == 0
    act("2026-05-10 14", "check", "platform.yaml", before=authorise)
    shutil.rmtree("refresh", ignore_errors=True)
    assert act("2026-05-10 15", "run", kill=(r"\.parquet", 3), before=reject) == DIED
    now = instant(parse_day("2026-05-10"), 16 * 60)
    while forced.spend(Tree(LocalStore(output), 2), BUSY, now):
        now += forced.APART
    assert act("2026-05-10 17", "check", kill=(r"\.check-", 1)) == DIED


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    make(Path("output"))
