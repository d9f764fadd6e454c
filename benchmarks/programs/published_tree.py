"""Publishes hourly rows through the raw log, a month after the other, as a backfill does."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import Day, day_text
from harvester.core.model import Partition, RawAnswer, Window, bucket_of
from harvester.storage import raw_log
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import Tree
from harvester.storage.publish import publish
from tests.support.output_helpers import ANY_TIME

HOURLY = CATALOGUE["interface_summary_hour"]
GROUP = 2_000
"""Answers in a raw group."""


def main(appids: list[str], begin: Day, end: Day, tree: Tree) -> None:
    """Write every answer of a month to the raw log, then publish the month."""
    for month in calendar.each_month(calendar.day_range(begin, end)):
        for bucket in range(tree.buckets):
            mine = [appid for appid in appids if bucket_of(appid, tree.buckets) == bucket]
            inside = list(
                calendar.each_day(calendar.month_days(month) & calendar.day_range(begin, end))
            )
            waiting = [(appid, day) for day in reversed(inside) for appid in mine]
            groups = [
                raw_log.write_group(tree, bucket, "run", list(answers(waiting[i : i + GROUP])))
                for i in range(0, len(waiting), GROUP)
            ]
            publish(
                tree,
                HOURLY,
                Partition(HOURLY.name, month, bucket),
                groups,
                ANY_TIME,
            )
            for group in groups:
                raw_log.delete(tree, group)


def answers(wanted: list[tuple[str, Day]]) -> Iterator[RawAnswer]:
    """A day of 24 busy hours each."""
    for appid, day in wanted:
        dice = random.Random(f"{appid} {day}")
        size = dice.lognormvariate(4, 1)
        text = day_text(day)
        rows = ",".join(
            row(text, hour, max(1, round(dice.gauss(size, size / 4)))) for hour in range(24)
        )
        window = Window(appid, HOURLY.name, day, day)
        yield RawAnswer(
            window, int(calendar.instant(day + 1, 12 * 60)), 0, f'{{"list":[{rows}]}}'.encode()
        )


def row(text: str, hour: int, count: int) -> str:
    """One hour."""
    return (
        f'{{"ref_date":"{text}","ref_hour":{hour * 100},"callback_count":{count},'
        f'"fail_count":{count // 97},"total_time_cost":{count * 350 + hour * 7},'
        f'"max_time_cost":{5000 + count * 13 % 900}}}'
    )


if __name__ == "__main__":
    plan = json.loads(Path(sys.argv[1]).read_bytes())
    main(
        plan["appids"],
        plan["begin"],
        plan["end"],
        Tree(LocalStore(Path(sys.argv[2])), plan["buckets"]),
    )
