"""Arguments of the API in the types that verbs take."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache, partial, wraps
from inspect import formatannotation, signature
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from harvester.core.config import parsers
from harvester.core.config.manifest_text import ManifestText
from harvester.core.config.references import quote_safe
from harvester.core.config.settings import Manifest
from harvester.core.errors import UsageError
from harvester.core.text import redaction
from harvester.core.text.inert_text import inert
from harvester.manifest.loader import Draft, read
from harvester.manifest.narrowing import Selection
from harvester.manifest.option_values import option, spelled
from harvester.planning.engine_shard import shard_of_engine
from harvester.planning.sharding import own_buckets
from harvester.runs.record.labels import check_labels

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")


ManifestSource: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | Manifest
"""A path of ``jobs.yaml``, its content as a mapping, or what `read_manifest` returned."""

Names: TypeAlias = str | Sequence[str] | None
"""One name or several; a name may hold several with commas, as on the command line."""

AnyDay: TypeAlias = str | date | None
"""A Beijing day: a date, or a text as in a job (``2024-01-31``, ``-30d``, ``yesterday``)."""

ShardName: TypeAlias = str | tuple[int, int] | None
"""A part of the accounts: ``"2/8"`` or ``(2, 8)`` is the second of eight, ``"auto"`` the one of an
engine's index in the environment."""

Processes: TypeAlias = int | Literal["auto"]
"""The number of processes that share the work of a run; ``auto`` is one a core."""


_validator: Callable[[Any], TypeAdapter[Any]] = cache(
    partial(TypeAdapter, config=ConfigDict(arbitrary_types_allowed=True))
)


@dataclass(frozen=True, kw_only=True)
class Selecting:
    """A manifest, the options that narrow it, and the output that replaces its own."""

    manifest: ManifestSource = field(kw_only=False)
    accounts: Names = None
    datasets: Names = None
    jobs: Names = None
    begin_date: AnyDay = None
    end_date: AnyDay = None
    output: str | os.PathLike[str] | None = None

    def selection(self) -> Selection:
        """Return the filters. Raises UsageError for an empty name."""
        return selection(self.accounts, self.datasets, self.jobs, self.begin_date, self.end_date)


def with_parameters_of(source: Callable[P, object]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Give a function the parameters of another, for readers of its help and for type checkers."""

    def give(function: Callable[..., T]) -> Callable[P, T]:
        own = signature(function).return_annotation
        function.__annotations__ = {**get_type_hints(source), "return": own}
        shape = signature(source).replace(return_annotation=own)
        function.__signature__ = shape  # type: ignore[attr-defined]
        return function

    return give


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Check the arguments of each call of a public function by their annotations."""

    @wraps(function)
    def call(*given: P.args, **named: P.kwargs) -> T:
        check(function, signature(function).bind(*given, **named).arguments)
        return function(*given, **named)

    return call


def taking(kind: Callable[P, A]) -> Callable[[Callable[[A], T]], Callable[P, T]]:
    """Give a function that takes a dataclass its fields as parameters, and check each call."""

    def give(function: Callable[[A], T]) -> Callable[P, T]:
        @checked
        @with_parameters_of(kind)
        @wraps(function)
        def call(*given: P.args, **named: P.kwargs) -> T:
            return function(kind(*given, **named))

        return call

    return give


def check(function: Callable[..., object], given: Mapping[str, object]) -> None:
    """Raise UsageError for an argument of another type than the function says."""
    for name, kind in get_type_hints(function).items():
        if name in given and not _fits(given[name], kind):
            what = f"{spelled(name)}{quote_safe(repr(given[name]))} does not fit"
            words = formatannotation(kind).replace("collections.abc.", "")
            raise UsageError(what, f"give {words}; help({function.__qualname__}) tells more")


def _fits(value: object, kind: Any) -> bool:
    """Return whether a value, and all that is in it, is of an annotated type."""
    # Any mapping will do, as `os.environ`, and any collection for a sequence, as a set of names.
    if isinstance(value, Mapping):
        value = dict(value)
    elif isinstance(value, Collection) and not isinstance(value, str | bytes | tuple):
        value = [*value]
    try:
        _validator(kind).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def in_own_record(function: Callable[[], T]) -> T:
    """Call a function with a record of secrets of its own, which ends with it."""

    def call() -> T:
        redaction.start_record()
        return function()

    return copy_context().run(call)


def source(manifest: ManifestSource) -> ManifestText:
    """Return a manifest as the verbs read it.

    A mapping is written as JSON, which the reader of YAML takes; mistakes are reported with their
    place in that text, whose lines are those of ``json.dumps(mapping, indent=2)``. Relative paths
    in a mapping count from the working directory. Raises UsageError for a value that JSON has not,
    and for a `Manifest` that was changed after it was read.
    """
    if isinstance(manifest, Manifest):
        origin = manifest.source
        # Another day needs the text, because a job may begin 30 days ago.
        if origin is None or draft_of(origin, origin.read_at).manifest() != manifest:
            problem = f"{spelled('manifest')} was changed after it was read, or its files were"
            raise UsageError(problem, "change the text or the mapping, and read it again")
        return origin
    if not isinstance(manifest, Mapping):
        return ManifestText(Path(manifest))
    try:
        text = json.dumps(dict(manifest), indent=2, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError):
        raise UsageError(
            "the mapping is no manifest: it refers to itself, or has a value that is none of text,"
            " number, date, path, list and mapping"
        ) from None
    return ManifestText(Path("mapping"), text)


def draft_of(source: ManifestText, now: float) -> Draft:
    """Read a manifest as of a time in seconds since the Unix epoch. Raises as `read`."""
    environ = os.environ if source.environ is None else source.environ
    return read(source.path, environ=environ, now=now, text=source.text)


def selection(
    accounts: Names, datasets: Names, jobs: Names, begin_date: AnyDay, end_date: AnyDay
) -> Selection:
    """Return the filters of a call."""
    words = {"accounts": accounts, "datasets": datasets, "jobs": jobs}
    return Selection(begin_date, end_date, *(names(each, name) for name, each in words.items()))


def shard_of(shard: ShardName) -> tuple[int, int]:
    """Return the number and the count of a shard; None is the only one. Raises UsageError."""
    if shard is None:
        return 1, 1
    if shard == "auto":
        return shard_of_engine(os.environ)
    try:
        number, total = shard.split("/") if isinstance(shard, str) else shard
        found = int(number), int(total)
    except (TypeError, ValueError):
        found = 0, 0
    if not 1 <= found[0] <= found[1]:
        text = f"{spelled('shard')} `{inert(str(shard))}` is not a shard"
        raise UsageError(text, "write 1/8 for the first of eight")
    return found


def check_shards(count: int, buckets: int) -> None:
    """Raise UsageError if an output has fewer buckets than shards."""
    own_buckets(buckets, (1, count))


def processes_of(processes: object) -> int:
    """Return the number of processes, 0 for one a core. Raises UsageError."""
    if processes == "auto":
        return 0
    if isinstance(processes, int) and not isinstance(processes, bool) and processes >= 1:
        return processes
    text = f"{spelled('processes')} `{inert(str(processes))}` is not a number from 1 on"
    raise UsageError(text, "write 4, or auto for all cores")


def seconds(duration: str | timedelta | None, name: str = "max_duration") -> float | None:
    """Return a duration like ``50m`` in seconds. Raises UsageError."""
    if isinstance(duration, timedelta):
        if duration < timedelta(0):
            raise UsageError(f"{spelled(name)} is negative", "give a positive timedelta")
        return duration.total_seconds()
    return option(name, duration, lambda text: parsers.duration(text, longest=math.inf))


def timeout_seconds(timeout: str | timedelta | None) -> float | None:
    """Return a duration like ``10m``, or ``0``, in seconds. Raises UsageError."""
    return 0.0 if timeout == "0" else seconds(timeout, "lock_timeout")


def labels_of(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Return the labels of a call. Raises UsageError."""
    return check_labels(labels or {})


def names(given: Names, argument: str) -> tuple[str, ...]:
    """Return the names of an argument, each by itself; none of them for None.

    Raises UsageError for an empty one: ``--accounts "$CLIENT"`` must not mean all accounts.
    """
    if given is None:
        return ()
    words = (given,) if isinstance(given, str) else given
    found = tuple(each.strip() for word in words for each in word.split(","))
    if not all(found) or not found:
        raise UsageError(f"{spelled(argument)} has an empty name", "name each, or leave it out")
    return found


def _plain(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    raise TypeError(f"a {type(value).__name__} has no place in it")
