"""A month of every hour of many accounts, and an answer to one day of each that comes later.

``make`` writes both through the store, ``publish`` merges them and prints the seconds, and
``compare`` does the same the simple way, everything in memory, and fails if the file differs.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.workload import BEGIN, appids
from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import day_text
from harvester.core.model import Partition, RawAnswer, Window
from harvester.storage import partition_writer, publish, raw_log
from harvester.storage.backends.local import LocalStore
from harvester.storage.footer import Footer
from harvester.storage.layout import Tree
from harvester.storage.partition_writer import NewFile
from harvester.tables import coverage
from harvester.tables.columns import arrow_schema
from harvester.tables.coverage import AccountDays
from harvester.tables.row_groups import ROW_GROUP_ROWS
from tests.support.output_helpers import ANY_TIME

DATASET = CATALOGUE["interface_summary_hour"]
SCHEMA = arrow_schema(DATASET)
MONTH = calendar.month_of(BEGIN)
HERE = Partition(DATASET.name, MONTH, 0)
LENGTH = calendar.month_length(MONTH)
CHANGED = BEGIN + 15
METRICS = [name for name in SCHEMA.names if name.endswith(("_count", "_cost"))]
GROUPS = 14
ASKED_AT = 1_700_000_000


def make(root: Path, count: int) -> None:
    """Write the month, and the raw groups."""
    tree = Tree(LocalStore(root))
    names = sorted(name for name, _ in zip(appids(), range(count), strict=False))
    everything = AccountDays(final=(1 << LENGTH) - 1, with_rows=(1 << LENGTH) - 1)
    footer = Footer(coverage.empty(MONTH).updated(dict.fromkeys(names, everything)), {})
    draft = NewFile(tree.store, tree.name(HERE), DATASET)
    partition_writer.write(draft, _tables(names), lambda: footer)
    shutil.copy(tree.store.display_path(tree.name(HERE)), root / "before.parquet")
    answers = [
        RawAnswer(Window(name, DATASET.name, CHANGED, CHANGED), ASKED_AT, 1, body)
        for name, body in zip(names, map(_body, range(count)), strict=True)
    ]
    for number in range(GROUPS):
        raw_log.write_group(tree, 0, "benchmark", answers[number::GROUPS])


def _tables(names: list[str]) -> Iterator[pa.Table]:
    """All rows in order, a row group at a time."""
    each = LENGTH * 24
    total = len(names) * each
    known = pa.array(names)
    for start in range(0, total, ROW_GROUP_ROWS):
        place = pa.array(range(start, min(total, start + ROW_GROUP_ROWS)), pa.int64())
        account = pc.divide(place, each)
        inside = pc.subtract(place, pc.multiply(account, each))
        day = pc.divide(inside, 24)
        hour = pc.subtract(inside, pc.multiply(day, 24))
        columns = {
            "appid": known.take(account),
            "ref_date": pc.add(day, BEGIN).cast(pa.int32()).cast(pa.date32()),
            "ref_hour": hour.cast(pa.int32()),
            "_fetched_at": pa.repeat(pa.scalar(ASKED_AT * 10**6 - 1, pa.int64()), len(place)).cast(
                SCHEMA.field("_fetched_at").type
            ),
            "_run_id": pa.repeat("before", len(place)),
            "_extra": pa.nulls(len(place), pa.string()),
        }
        for number, name in enumerate(METRICS):
            noise = pc.random(len(place), initializer=start + number)
            columns[name] = pc.floor(pc.multiply(noise, 100.0 * 10**number)).cast(pa.int64())
        yield pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _body(number: int) -> bytes:
    rows = [
        {
            "ref_date": day_text(CHANGED),
            "ref_hour": hour * 100,
            **{name: number * 31 + hour + place for place, name in enumerate(METRICS)},
        }
        for hour in range(24)
    ]
    return json.dumps({"list": rows}, separators=(",", ":")).encode()


def merge(root: Path) -> None:
    """Publish the groups; prints the seconds and the CPU seconds it took."""
    if hasattr(os, "sched_setaffinity"):
        # On every core there is, for a publish reads ahead in a thread.
        os.sched_setaffinity(0, os.sched_getaffinity(os.getppid()))
    tree = Tree(LocalStore(root))
    groups = raw_log.unpublished(tree, [0])[0]
    begun, used = time.perf_counter(), time.process_time()
    publish.publish(tree, DATASET, HERE, groups, ANY_TIME)
    taken = {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - used}
    print(json.dumps(taken))


def compare(root: Path) -> None:
    """Read all, take the changed day out, put the new rows in, sort."""
    tree = Tree(LocalStore(root))
    old = pq.ParquetFile(root / "before.parquet").read()
    rows = []
    for group in raw_log.unpublished(tree, [0])[0]:
        for answer in group.answers(DATASET.name, MONTH):
            for row in json.loads(answer.body)["list"]:
                row |= {
                    "appid": answer.window.appid,
                    "ref_date": answer.window.begin,
                    "ref_hour": row["ref_hour"] // 100,
                    "_fetched_at": group.fetched_at,
                    "_run_id": group.run_id,
                }
                rows.append(row)
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in SCHEMA]
    kept = old.filter(pc.not_equal(old["ref_date"].cast(pa.int32()), CHANGED))
    both = pa.concat_tables([kept, pa.table(columns, schema=SCHEMA)])
    wanted = both.sort_by(
        [("appid", "ascending"), ("ref_date", "ascending"), ("ref_hour", "ascending")]
    )
    found = pq.ParquetFile(tree.store.display_path(tree.name(HERE))).read()
    if not found.equals(wanted):
        raise SystemExit("the file is not what reading all and sorting gives")


if __name__ == "__main__":
    work = {"make": lambda root: make(root, int(sys.argv[3])), "publish": merge, "compare": compare}
    work[sys.argv[1]](Path(sys.argv[2]))
