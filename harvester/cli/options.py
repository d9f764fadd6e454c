"""Options that several verbs share, and the reading of their texts.

Loads next to nothing, so that help stays quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from cyclopts import Group, Parameter

from harvester.core.errors import Exit, UsageError
from harvester.core.selection import Selection

_MOST_DIGITS = 9
_SELECTING = Group("Selecting", sort_key=1)
_LOGGING = Group("Logging", sort_key=3)


def value(what: str, variable: str, **how: Any) -> Parameter:
    """Describe an option that a variable of the environment sets as well."""
    return Parameter(help=what, env_var=variable, **how)


def flag(what: str, variable: str) -> Parameter:
    """Describe an option without a value."""
    return value(what, variable, negative="")


def names(what: str, variable: str) -> Parameter:
    """Describe an option that takes names, separated by commas."""
    return value(
        f"{what} Separate several by commas.",
        variable,
        env_var_split=_whole,
        negative="",
        group=_SELECTING,
        show_default=False,
    )


def day(what: str, variable: str, **how: Any) -> Parameter:
    """Describe an option that takes a day, also one like ``-30d``."""
    return value(what, variable, allow_leading_hyphen=True, **how)


def _whole(_type: object, text: str, *, delimiter: str | None = None) -> list[str]:
    """Keep a variable whole: `split` splits it at commas as an option, since names hold blanks."""
    del delimiter
    return [text]


ManifestPath: TypeAlias = Annotated[Path, value("The manifest.", "HARVESTER_MANIFEST")]
Output: TypeAlias = Annotated[
    str | None,
    value(
        "Write to and read from this directory or s3://…, gs://…, az://…, whatever the "
        "manifest says.",
        "HARVESTER_OUTPUT",
    ),
]
Format: TypeAlias = Annotated[
    Literal["text", "json"], value("How the answer is printed on stdout.", "HARVESTER_FORMAT")
]
Refetch: TypeAlias = Annotated[
    Literal["all", "empty", "quarantined", "refused"] | None,
    value(
        "Treat the selected days, or only those of this state, as missing. "
        "Old rows stay until new ones arrive.",
        "HARVESTER_REFETCH",
    ),
]
Shard: TypeAlias = Annotated[
    str | None, value("Do only this part of the accounts: 1/8 to 8/8.", "HARVESTER_SHARD")
]
# No verb reads it, hence the underscore: it is settled where every verb ends.
OkExit: TypeAlias = Annotated[
    str, value("Exit codes to turn into 0, separated by commas: 3,75.", "HARVESTER_OK_EXIT")
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Selecting:
    """Options that narrow the manifest; none of them widens it."""

    begin_date: Annotated[
        str | None,
        day(
            "Nothing before this day: 2024-01-31, -30d or earliest.",
            "HARVESTER_BEGIN_DATE",
            group=_SELECTING,
        ),
    ] = None
    end_date: Annotated[
        str | None,
        day(
            "Nothing after this day: 2024-01-31, -30d or yesterday.",
            "HARVESTER_END_DATE",
            group=_SELECTING,
        ),
    ] = None
    accounts: Annotated[
        tuple[str, ...],
        names("Only these accounts: appids, names or tag:NAME.", "HARVESTER_ACCOUNTS"),
    ] = ()
    datasets: Annotated[
        tuple[str, ...], names("Only these datasets: names or globs.", "HARVESTER_DATASETS")
    ] = ()
    jobs: Annotated[tuple[str, ...], names("Only these jobs.", "HARVESTER_JOBS")] = ()

    def selection(self) -> Selection:
        """Return the options as a value of their own."""
        named = map(split, (self.accounts, self.datasets, self.jobs))
        return Selection(self.begin_date, self.end_date, *named)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Logging:
    """Options for the lines on stderr."""

    log_format: Annotated[
        Literal["text", "json"],
        value(
            "Lines for people, or one JSON object a line.", "HARVESTER_LOG_FORMAT", group=_LOGGING
        ),
    ] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        value("The least important lines shown.", "HARVESTER_LOG_LEVEL", group=_LOGGING),
    ] = "info"


ALL = Selecting()
DEFAULT_LOGGING = Logging()


def split(values: tuple[str, ...]) -> tuple[str, ...]:
    """Split the values of an option into names."""
    return tuple(name for value in values for part in value.split(",") if (name := part.strip()))


def parse_shard(text: str | None) -> tuple[int, int]:
    """Read ``2/8``. Without a shard, the only one there is."""
    if text is None:
        return 1, 1
    number, slash, total = text.partition("/")
    if slash and _is_count(number) and _is_count(total) and 1 <= int(number) <= int(total):
        return int(number), int(total)
    raise UsageError(f"--shard {text!r} is not a shard", "Write 1/8 for the first of eight.")


def parse_ok_exit(text: str) -> frozenset[int]:
    """Read ``3,75`` as exit codes."""
    known = {str(int(code)) for code in Exit}
    codes = split((text,))
    for code in codes:
        if code not in known:
            raise UsageError(
                f"--ok-exit {code!r} is no exit code of harvester",
                f"It has {', '.join(sorted(known, key=int))}.",
            )
    return frozenset(map(int, codes))


def _is_count(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MOST_DIGITS
