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
    """The variables of an engine.

    Without ``count`` it tells no number of tasks. Their indexes begin with that in ``first``, or
    with 0, and end with that in ``last``.
    """

    name: str
    index: str
    count: str = ""
    first: str = ""
    last: str = ""


_ENGINES = (
    _Engine("Kubernetes", "JOB_COMPLETION_INDEX"),
    _Engine("AWS Batch", "AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    _Engine("Cloud Run", "CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT"),
    _Engine("Slurm", *(f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "COUNT", "MIN", "MAX"))),
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
    index, first = _number(environ, engine.index), _number(environ, engine.first, "0")
    count = _count(environ, engine)
    last = _number(environ, engine.last, str(index))
    # Each task of an array with gaps is refused, or some would run as the shards of others.
    if not first <= index <= last < first + count:
        raise UsageError(
            f"shard auto: {engine.index} is {index}, and there are {count} shards",
            f"{engine.name} counts from {first}, without gaps; set {SHARDS} to the number of its"
            " tasks, or write the shard, as 1/8",
        )
    return index - first + 1, count


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


def _number(environ: Mapping[str, str], name: str, default: str = "") -> int:
    text = environ.get(name) or default
    if text.isdecimal() and len(text) <= _MAX_DIGITS:
        return int(text)
    raise UsageError(f"shard auto: {name} is `{inert(text[:80])}`, and no number")
