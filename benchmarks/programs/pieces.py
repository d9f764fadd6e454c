"""The cost of a request besides its HTTP, piece by piece. Prints CPU microseconds a request.

Each piece runs alone over the same answers, so caches are warmer than in a run and nothing else
wants the interpreter: the sum is a floor of what `benchmarks.cpu` finds, and says where to look.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.workload import BEGIN, busy
from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.config.settings import Account, Job, Limits, Manifest, Output, Pace
from harvester.core.model import Partition, Rate, RawAnswer, Window
from harvester.engine.rate_limiter import RateLimiter
from harvester.planning import wanted_days
from harvester.runs.harvest import make_queues
from harvester.sandbox.data import expected_rows
from harvester.scheduling.account_queue import Attempt
from harvester.scheduling.scheduler import Scheduler
from harvester.storage import publish, raw_log
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import Tree
from harvester.tables import decode
from harvester.wechat import protocol
from tests.support.output_helpers import ANY_TIME

DATASET = CATALOGUE["interface_summary_hour"]
ACCOUNTS, DAYS, GROUPS = 50, 28, 4
"""A month in so many raw groups: as in a run, an account's days are spread over several."""

REPEATS = 7
FLIGHT = 100
PACE = Pace(Rate(999_999, 1.0), burst=1_000)


class Work(NamedTuple):
    """The answers of a month, and where to put them."""

    answers: list[RawAnswer]
    root: Path


def main(root: Path) -> None:
    """Measure every piece."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    work = Work(list(_answers()), root)
    count = len(work.answers)
    pieces: dict[str, Callable[[Work], Iterator[float]]] = {
        "schedule": _schedule,
        "judge an answer": _judge,
        "raw log": _raw_log,
        "publish": _publish,
        "publish: read an answer": _read,
    }
    found = {name: min(piece(work)) / count * 1e6 for name, piece in pieces.items()}
    print(json.dumps(found))


def _answers() -> Iterator[RawAnswer]:
    for appid in busy(ACCOUNTS):
        for day in range(BEGIN, BEGIN + DAYS):
            body = json.dumps(
                {"list": expected_rows(DATASET.name, appid, day)}, separators=(",", ":")
            ).encode()
            yield RawAnswer(Window(appid, DATASET.name, day, day), BEGIN * 86_400 + 10**9, 0, body)


def _timed(action: Callable[[], Any]) -> float:
    begun = time.process_time()
    action()
    return time.process_time() - begun


def _schedule(work: Work) -> Iterator[float]:
    appids = tuple(dict.fromkeys(answer.window.appid for answer in work.answers))
    job = Job("job-1", (DATASET.name,), appids, BEGIN, BEGIN + DAYS - 1)
    manifest = Manifest(
        Path("jobs.yaml"),
        tuple(Account(appid) for appid in appids),
        (job,),
        Output(work.root),
        CATALOGUE,
    )
    for _ in range(REPEATS):
        want = wanted_days.wanted(manifest, time.time())
        lanes = make_queues(manifest, want, wanted_days.Missing(want, {}))
        spacing = RateLimiter(PACE)
        schedule = Scheduler(
            lanes,
            Limits(per_token=PACE),
            policy=manifest.retry,
            limiter=spacing,
            jitter=random.Random(),
        )
        begun = time.process_time()
        asyncio.run(_play(schedule, spacing))
        yield time.process_time() - begun


async def _play(schedule: Scheduler, spacing: RateLimiter) -> None:
    """Hand everything out and back, as many at once as a run has connections."""
    now = time.time()
    flying: deque[Attempt] = deque()
    landed: list[Attempt] = []
    while not schedule.is_finished(now):
        now += 1e-4
        attempt = schedule.next(now)
        if attempt is not None:
            await spacing.take(attempt.queue.appid)
            flying.append(attempt)
        if attempt is None or len(flying) == FLIGHT:
            landed.append(flying.popleft())
            schedule.answered(landed[-1], now)
    for each in landed:
        schedule.durable(each)


def _judge(work: Work) -> Iterator[float]:
    def judge() -> None:
        for answer in work.answers:
            protocol.days_body(answer.window.begin, answer.window.end)
            if protocol.refusal_of(200, answer.body) is not None:
                raise RuntimeError("a good answer was refused")

    return (_timed(judge) for _ in range(REPEATS))


def _read(work: Work) -> Iterator[float]:
    read = decode.decoder(DATASET)

    def everything() -> None:
        for answer in work.answers:
            read(answer.window, answer.body)

    return (_timed(everything) for _ in range(REPEATS))


def _raw_log(work: Work) -> Iterator[float]:
    for number in range(REPEATS):
        begun = time.process_time()
        _write(Tree(LocalStore(work.root / f"raw-{number}")), work.answers)
        yield time.process_time() - begun


def _publish(work: Work) -> Iterator[float]:
    for number in range(REPEATS):
        tree = Tree(LocalStore(work.root / f"publish-{number}"))
        groups = _write(tree, work.answers)
        partition = Partition(DATASET.name, calendar.month_of(BEGIN), 0)
        begun = time.process_time()
        publish.publish(tree, DATASET, partition, groups, ANY_TIME)
        yield time.process_time() - begun


def _write(tree: Tree, answers: list[RawAnswer]) -> list[raw_log.Group]:
    return [
        raw_log.write_group(tree, 0, "run", answers[number::GROUPS]) for number in range(GROUPS)
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
