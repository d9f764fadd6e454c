"""The cost of reading answers into columns, dataset by dataset. Prints JSON, times in CPU µs.

The answers are those of busy accounts to windows of the dataset's whole span, read as publishing
reads them, and beside that `orjson.loads` of the same bodies in the same process.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import orjson

from benchmarks.workload import busy
from harvester.catalogue import CATALOGUE
from harvester.core import calendar, readiness
from harvester.core.dataset import Dataset
from harvester.core.model import RawAnswer, Window
from harvester.core.windows import windows
from harvester.sandbox import rows_at
from harvester.sandbox.calls import list_of
from harvester.tables import decode_batch
from harvester.tables.row_groups import Provenance

ACCOUNTS = 60
WINDOWS = 8
REPEATS = 9
NOW = calendar.instant(calendar.parse_day("2026-10-01"))
STAMP = Provenance(1_790_000_000_000_000, "run")


def main() -> None:
    """Measure every dataset."""
    appids = busy(ACCOUNTS)
    gc.collect()
    gc.freeze()
    found = {name: _cost(_answers(each, appids)) for name, each in CATALOGUE.items()}
    print(json.dumps(found))


def _answers(dataset: Dataset, appids: Iterable[str]) -> list[RawAnswer]:
    newest = readiness.newest_ready(dataset, NOW) - 40
    asked = readiness.periods(dataset.grain, dataset.first_day, newest)
    return [
        RawAnswer(Window(appid, dataset.name, begin, end), int(NOW), 0, body)
        for appid in appids
        for begin, end in reversed(list(islice(windows(asked, dataset.span), WINDOWS)))
        if len(body := _body(dataset, appid, begin, end)) > _EMPTY
    ]


def _body(dataset: Dataset, appid: str, begin: int, end: int) -> bytes:
    rows = rows_at(NOW, dataset, appid, range(begin, end + 1))
    return list_of(rows, is_delay=False if dataset.may_be_delayed else None)


_EMPTY = len('{"list":[],"is_delay":false}')


def _cost(answers: list[RawAnswer]) -> dict[str, float]:
    """The bytes of an answer, and the CPU microseconds of loading and of reading one."""
    read = decode_batch.batch_decoder(CATALOGUE[answers[0].window.dataset])
    batches = [
        [(answer, STAMP) for answer in answers[start : start + decode_batch.BATCH]]
        for start in range(0, len(answers), decode_batch.BATCH)
    ]
    loading = _least(lambda: [orjson.loads(answer.body) for answer in answers])
    reading = _least(lambda: [sum(1 for _ in read(batch)) for batch in batches])
    count = len(answers)
    size = sum(len(answer.body) for answer in answers)
    return {"bytes": size / count, "loads": loading / count, "read": reading / count}


def _least(action: Callable[[], Any]) -> float:
    """The CPU microseconds of the quickest of some tries: whatever comes between only adds."""
    taken = []
    for _ in range(REPEATS):
        begun = time.process_time()
        action()
        taken.append(time.process_time() - begun)
    return min(taken) * 1e6


if __name__ == "__main__":
    main()
