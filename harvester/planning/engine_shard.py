"""The shard of a process that an engine started, by the index that the engine gave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harvester.core.errors import UsageError
from harvester.core.text.inert_text import inert

SHARDS = "HARVESTER_SHARDS"
"""The variable that has the number of shards where an engine does not tell it."""

_MAX_DIGITS = 9


@dataclass(frozen=True, slots=True)
class _Engine:
    """The variables of an engine; without ``count`` it tells no number of tasks."""

    name: str
    index: str
    count: str = ""


_SLURM = _Engine("Slurm", "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")
_ENGINES = (
    _Engine("Kubernetes", "JOB_COMPLETION_INDEX"),
    _Engine("AWS Batch", "AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    _Engine("Cloud Run", "CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT"),
    _SLURM,
)


def shard_of_engine(environ: Mapping[str, str]) -> tuple[int, int]:
    """Return the number and the count of the shard that the variables of an engine mean.

    Raises UsageError if there is no index or no count, or if they contradict each other.
    """
    found = [engine for engine in _ENGINES if environ.get(engine.index)]
    if not found:
        known = ", ".join(engine.index for engine in _ENGINES)
        raise UsageError(
            f"shard auto: no engine has set an index; looked for {known}",
            "write 1/8 for the first of eight",
        )
    shards = {_shard(environ, engine): engine.index for engine in found}
    if len(shards) > 1:
        told = ", ".join(f"{name} means {shard[0]}/{shard[1]}" for shard, name in shards.items())
        raise UsageError(f"shard auto: engines disagree: {told}", "write the shard, as 1/8")
    return next(iter(shards))


def _shard(environ: Mapping[str, str], engine: _Engine) -> tuple[int, int]:
    index = _number(environ, engine.index)
    if engine is _SLURM:
        index = _slurm_index(environ, index)
    count = _count(environ, engine)
    if index >= count:
        raise UsageError(
            f"shard auto: {engine.index} is {index}, and there are {count} shards",
            f"{engine.name} counts from 0; set {SHARDS} to the number of its tasks.",
        )
    return index + 1, count


def _count(environ: Mapping[str, str], engine: _Engine) -> int:
    """Return the number of tasks; the engine and the user's variable must agree."""
    names = [name for name in (engine.count, SHARDS) if name and environ.get(name)]
    if not names:
        raise UsageError(
            f"shard auto: {engine.index} is set, and the number of shards is not known",
            f"set {SHARDS} to the number of tasks of {engine.name}",
        )
    counts = {name: _number(environ, name) for name in names}
    if len({*counts.values()}) > 1:
        told = ", ".join(f"{name} is {count}" for name, count in counts.items())
        raise UsageError(f"shard auto: {told}", f"remove {SHARDS}, or set it to the same number")
    return counts[names[0]]


def _slurm_index(environ: Mapping[str, str], task: int) -> int:
    """Return the position of a task: an array may begin anywhere, and have a step."""
    first = _number(environ, "SLURM_ARRAY_TASK_MIN", "0")
    step = max(1, _number(environ, "SLURM_ARRAY_TASK_STEP", "1"))
    last = _number(environ, "SLURM_ARRAY_TASK_MAX", str(task))
    count = _number(environ, _SLURM.count, "1")
    whole = "SLURM_ARRAY_TASK_MAX" not in environ or last - first == (count - 1) * step
    if not whole or task < first or (task - first) % step:
        raise UsageError(
            "shard auto: the array of Slurm has gaps, so an id is no position in it",
            "submit it as a range, --array=0-7, or write the shard, as 1/8",
        )
    return (task - first) // step


def _number(environ: Mapping[str, str], name: str, default: str = "") -> int:
    text = environ.get(name) or default
    if text.isdecimal() and len(text) <= _MAX_DIGITS:
        return int(text)
    raise UsageError(f"shard auto: {name} is `{inert(text[:80])}`, and no number")
