"""Options that several verbs share, and how their texts are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Group, Parameter

from harvester.errors import UsageError
from harvester.selection import Selection

_MOST_DIGITS = 9
_SELECTING = Group("Selecting", sort_key=1)
_LOGGING = Group("Logging", sort_key=3)

ManifestPath: TypeAlias = Annotated[
    Path, Parameter(help="The manifest.", env_var="HARVESTER_MANIFEST")
]
Output: TypeAlias = Annotated[
    str | None,
    Parameter(
        help="Write to and read from this directory or s3://…, gs://…, az://…, whatever the "
        "manifest says.",
        env_var="HARVESTER_OUTPUT",
    ),
]
Format: TypeAlias = Annotated[
    Literal["text", "json"],
    Parameter(help="How the answer is printed on stdout.", env_var="HARVESTER_FORMAT"),
]
Refetch: TypeAlias = Annotated[
    Literal["all", "empty", "quarantined", "refused"] | None,
    Parameter(
        help="Treat the selected days, or only those of this state, as missing. "
        "Old rows stay until new ones arrive.",
        env_var="HARVESTER_REFETCH",
    ),
]
Shard: TypeAlias = Annotated[
    str | None,
    Parameter(help="Do only this part of the accounts: 1/8 to 8/8.", env_var="HARVESTER_SHARD"),
]
OkExit: TypeAlias = Annotated[
    str,
    Parameter(
        help="Exit codes to turn into 0, separated by commas: 3,75.", env_var="HARVESTER_OK_EXIT"
    ),
]


def _whole(_type: object, text: str, *, delimiter: str | None = None) -> list[str]:
    """A variable is split as an option is, at commas by `split`: a name may hold a blank."""
    del delimiter
    return [text]


def names_option(what: str, variable: str) -> Parameter:
    """An option that takes names, separated by commas."""
    return Parameter(
        help=f"{what} Separate several by commas.",
        env_var=variable,
        env_var_split=_whole,
        negative="",
        group=_SELECTING,
        show_default=False,
    )


def _day(what: str, variable: str) -> Parameter:
    return Parameter(help=what, env_var=variable, allow_leading_hyphen=True, group=_SELECTING)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Selecting:
    """What of the manifest is meant. Everything narrows, nothing widens."""

    begin_date: Annotated[
        str | None,
        _day("Nothing before this day: 2024-01-31, -30d or earliest.", "HARVESTER_BEGIN_DATE"),
    ] = None
    end_date: Annotated[
        str | None,
        _day("Nothing after this day: 2024-01-31, -30d or yesterday.", "HARVESTER_END_DATE"),
    ] = None
    accounts: Annotated[
        tuple[str, ...],
        names_option("Only these accounts: appids, names or tag:NAME.", "HARVESTER_ACCOUNTS"),
    ] = ()
    datasets: Annotated[
        tuple[str, ...], names_option("Only these datasets: names or globs.", "HARVESTER_DATASETS")
    ] = ()
    jobs: Annotated[tuple[str, ...], names_option("Only these jobs.", "HARVESTER_JOBS")] = ()

    def selection(self) -> Selection:
        """The options as the manifest understands them."""
        return Selection(
            begin_date=self.begin_date,
            end_date=self.end_date,
            accounts=split(self.accounts),
            datasets=split(self.datasets),
            jobs=split(self.jobs),
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Logging:
    """How much is said on stderr, and in which form."""

    log_format: Annotated[
        Literal["text", "json"],
        Parameter(
            help="Lines for people, or one JSON object a line.",
            env_var="HARVESTER_LOG_FORMAT",
            group=_LOGGING,
        ),
    ] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Parameter(
            help="The least important lines shown.", env_var="HARVESTER_LOG_LEVEL", group=_LOGGING
        ),
    ] = "info"


EVERYTHING = Selecting()
PLAINLY = Logging()


def split(values: tuple[str, ...]) -> tuple[str, ...]:
    """The names in what an option was given."""
    return tuple(name for value in values for part in value.split(",") if (name := part.strip()))


def parse_shard(text: str | None) -> tuple[int, int]:
    """Read ``2/8``. Without a shard, the only one there is."""
    if text is None:
        return 1, 1
    number, slash, total = text.partition("/")
    if slash and _is_count(number) and _is_count(total) and 1 <= int(number) <= int(total):
        return int(number), int(total)
    raise UsageError(f"--shard {text!r} is not a shard", "Write 1/8 for the first of eight.")


def _is_count(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MOST_DIGITS
