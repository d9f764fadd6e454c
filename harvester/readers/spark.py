"""A harvest on a Spark cluster: one task and one row per shard.

Spark places, starts and repeats the tasks. Locks of the output decide which task owns a bucket, and
the run of a shard asks only for days that are missing. So any number of attempts of a task may run,
at any time, on any machine.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pyspark import SparkContext, TaskContext
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from harvester.core.config.settings import Manifest
from harvester.core.errors import HarvesterError, RunFailed, UsageError, places
from harvester.core.exit_codes import Exit, first_of
from harvester.core.text.inert_text import inert
from harvester.verbs import arguments
from harvester.verbs.arguments import AnyDay, ManifestSource, Names
from harvester.verbs.project import narrowed, read_manifest
from harvester.verbs.results import Result
from harvester.verbs.run import Run, RunArguments

_SCHEMA = (
    "shard string not null, run_id string not null, outcome string not null,"
    " exit_code int not null, reasons array<string> not null, retry_at timestamp,"
    " requests bigint not null, rows bigint not null, message string not null,"
    " published array<struct<dataset: string, ref_month: string, path: string,"
    " rows_before: bigint, rows_after: bigint>> not null"
)

AnyOutcome: TypeAlias = Literal[
    "complete", "unfinished", "partial", "unauthorised", "stopped", "bug"
]
"""An outcome of a shard."""

_environment_lock = threading.Lock()


def harvest(
    spark: SparkSession,
    manifest: ManifestSource,
    *,
    shards: int | None = None,
    accounts: Names = None,
    datasets: Names = None,
    jobs: Names = None,
    begin_date: AnyDay = None,
    end_date: AnyDay = None,
    output: str | os.PathLike[str] | None = None,
    max_duration: str | timedelta | None = None,
    lock_timeout: str | timedelta | None = "10m",
    labels: Mapping[str, str] | None = None,
    accept: Sequence[AnyOutcome] = ("complete", "unfinished", "partial"),
    forward_env: Names = (),
) -> DataFrame:
    """Fetch the days that the output lacks, and publish them: an action, one task per shard.

    Tasks read the manifest and its secrets where they run, so both must be there. A task that
    Spark repeats or runs twice asks nothing again that an earlier one has made durable.

    Args:
        spark: The session. Its executors need harvester and pyspark.
        manifest: A path that exists on the driver and on each executor, or a mapping.
        shards: The number of tasks, at most ``output.buckets``; by default one for each slot of
            the cluster.
        accounts: Only these, as for `harvester.run`; so are the next four.
        datasets: Only these.
        jobs: Only these.
        begin_date: No Beijing day before this one.
        end_date: No Beijing day after this one.
        output: Replaces the manifest's output. All executors must reach it at this place.
        max_duration: Each task starts nothing new after this long: ``"50m"`` or a timedelta.
        lock_timeout: A task waits so long for accounts that another run, or an earlier attempt of
            itself, holds: ``"10m"`` or a timedelta.
        labels: Go into the run records, beside the application and the attempt.
        accept: Outcomes of a shard that are no error.
        forward_env: Environment variables of the driver, names or globs, that the tasks get. Their
            values travel with the tasks.

    Returns:
        One row per shard: ``shard``, ``run_id``, ``outcome``, ``exit_code``, ``reasons``,
        ``retry_at``, ``requests``, ``rows``, ``message`` and ``published``.

    Raises:
        UsageError: The manifest or an argument is wrong.
        Busy: Another run holds the accounts of a shard for longer than ``lock_timeout``.
        Unfinished, PartialFailure, Unauthorised, Stopped, RunFailed: A shard has an outcome that is
            not accepted. All shards have ended, and what they obtained is published.
    """
    asked = RunArguments(
        manifest=manifest,
        accounts=accounts,
        datasets=datasets,
        jobs=jobs,
        begin_date=begin_date,
        end_date=end_date,
        output=output,
        max_duration=max_duration,
        lock_timeout=lock_timeout,
        labels=labels,
    )
    own = {"shards": shards, "accept": accept, "forward_env": forward_env}
    arguments.check(harvest, {**vars(asked), **own})
    context = _context_of(spark)
    found = read_manifest(manifest)
    count = _number_of_shards(shards, found.output.buckets, _slots(context))
    _check(asked, found)
    labels = {**(labels or {}), "spark_application": context.applicationId}
    asked = replace(asked, output=_shared_place(found, output), labels=labels)
    task = partial(_run_shard, asked, frozenset(accept), count)
    with _forwarded(context, _variables(forward_env)):
        tasks = context.parallelize(range(count), count).setName("harvester").map(task)
        # Only now the variables of the workers are fixed: an RDD is made when it is needed.
        tasks.id()
    ends = tasks.collect()
    _raise_worst([end for end in ends if isinstance(end, HarvesterError)])
    return spark.createDataFrame(ends, _SCHEMA)


def _run_shard(
    asked: RunArguments, accept: frozenset[str], count: int, index: int
) -> tuple[Any, ...] | HarvesterError:
    """Run a shard in the task of an executor, and return its row or its error.

    An error is not raised: Spark would repeat the task, and then stop the other ones. No argument
    has values of secrets, because Spark sends them to others.
    """
    shard, attempt = f"{index + 1}/{count}", TaskContext.get()
    number = {} if attempt is None else {"spark_attempt": str(attempt.attemptNumber())}
    try:
        labels = {**(asked.labels or {}), **number}
        result = Run(replace(asked, labels=labels, shard=(index + 1, count))).result()
        if result.outcome not in accept:
            result.raise_for_outcome()
        return _row(shard, result)
    except HarvesterError as error:
        return _named(error, shard)
    except Exception as error:  # noqa: BLE001 - a bug, told without foreign texts
        where = (places(error) or ["an unknown place"])[-1]
        bug = f"a bug in harvester: {type(error).__name__} at {where}"
        return _named(HarvesterError(bug, "Please report it with the message."), shard)


def _check(asked: RunArguments, manifest: Manifest) -> None:
    """Raise UsageError for an argument that each task would refuse."""
    arguments.seconds(asked.max_duration)
    arguments.timeout_seconds(asked.lock_timeout)
    arguments.labels_of(asked.labels)
    narrowed(manifest, asked.selection(), time.time())


def _row(shard: str, result: Result) -> tuple[Any, ...]:
    return (
        shard,
        result.run_id,
        str(result.outcome),
        result.exit_code,
        list(result.reasons),
        result.retry_at,
        result.requests,
        result.rows,
        str(result),
        [file[:5] for file in result.published],
    )


def _context_of(spark: SparkSession) -> SparkContext:
    try:
        return spark.sparkContext
    except PySparkException:
        raise UsageError(
            "a session of Spark Connect cannot start the tasks of a harvest",
            "use a classic session, as spark-submit starts it",
        ) from None


def _slots(context: SparkContext) -> int:
    """Return the number of tasks that the cluster runs at once, as far as is known now."""
    cores = int(context.getConf().get("spark.task.cpus") or 1)
    return max(1, context.defaultParallelism // cores)


def _number_of_shards(asked: int | None, buckets: int, slots: int) -> int:
    """Return the number of tasks. Raises UsageError if it does not fit the buckets."""
    if asked is None:
        return min(slots, buckets)
    if asked < 1:
        raise UsageError(f"{asked} shards", "write at least 1, or leave it out")
    arguments.check_shards(asked, buckets)
    return asked


def _shared_place(manifest: Manifest, output: str | os.PathLike[str] | None) -> str:
    """Return the output as a URI or an absolute path: executors have other working folders."""
    given = os.fspath(manifest.output.path if output is None else output)
    return given if "://" in given else str(Path(given).absolute())


def _variables(forward_env: Names) -> dict[str, str]:
    """Return the variables that are asked for. Raises UsageError for a name that is not set."""
    found: dict[str, str] = {}
    for pattern in arguments.names(forward_env or None, "forward_env"):
        named = {name: os.environ[name] for name in os.environ if fnmatchcase(name, pattern)}
        if not named:
            raise UsageError(f"forward_env: no variable {inert(pattern)} is set on the driver")
        found |= named
    return found


@contextmanager
def _forwarded(context: SparkContext, variables: Mapping[str, str]) -> Iterator[None]:
    """Set the variables with which the workers of RDDs that are made in the block start.

    They are not settings of the application, because Spark's event log and web pages show those.
    """
    with _environment_lock:
        before = context.environment
        context.environment = {**before, **variables}
        try:
            yield
        finally:
            context.environment = before


def _named(error: HarvesterError, shard: str) -> HarvesterError:
    """Add the name of its shard to an error; a `RunFailed` has it already."""
    if not isinstance(error, RunFailed):
        error.lines = (f"shard {shard}: {error.lines[0]}", *error.lines[1:])
        error.problem = "\n".join(error.lines)
        error.args = (error.problem,)
    return error


def _raise_worst(failures: Sequence[HarvesterError]) -> None:
    """Raise the most severe failure with a note for each other one; nothing if there is none."""
    if not failures:
        return
    code = first_of(Exit(failure.exit_code) for failure in failures)
    worst = next(failure for failure in failures if failure.exit_code == code)
    for failure in failures:
        if failure is not worst:
            worst.add_note(failure.problem)
    raise worst
