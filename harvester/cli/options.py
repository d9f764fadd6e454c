"""Options that several verbs share, and parsers of their values.

The help of an option stands in the docstring of its verb or class, as ``Params``; a shared type has
its help here. Imports next to nothing, so that ``--help`` stays quick.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from os import environ
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from cyclopts import Group, Parameter

from harvester.catalogue.languages import Language
from harvester.core.errors import UsageError
from harvester.core.exit_codes import Exit
from harvester.core.text.inert_text import inert

_SELECTING = Group("Selecting", sort_key=1)


def value(variable: str, **how: Any) -> Parameter:
    """Describe an option that an environment variable sets as well."""
    return Parameter(env_var=variable, **how)


def names(variable: str) -> Parameter:
    """Describe an option that takes names, separated by commas."""
    return value(variable, env_var_split=_at_commas, group=_SELECTING, show_default=False)


def day(variable: str, **how: Any) -> Parameter:
    """Describe an option that takes a day, also one like ``-30d``."""
    return value(variable, allow_leading_hyphen=True, **how)


def _at_commas(_type: object, text: str, **_how: object) -> list[str]:
    """Split the text of a variable at commas: it is the only one for several values.

    Not at blanks, because names hold them.
    """
    return [each.strip() for each in text.split(",")]


JOBS = Path("jobs.yaml")
"""The manifest where none is named."""


_OUTPUT = "The output, instead of the manifest's: a directory or s3://…, gs://…, az://…."
_LANG = "The language of the texts, `en` or `zh`: English by default."
_REFETCH = (
    "Treat the selected days, or only those of this state, as missing. "
    "Old rows stay until new ones arrive."
)
_SHARD = (
    "Take one part of the accounts: 1/8 to 8/8, or auto: by the index that Kubernetes, "
    "AWS Batch, Cloud Run or Slurm has set."
)
_LOCK_TIMEOUT = (
    "How long to wait for accounts that another run holds: 10m; by default 0 on a disk, "
    "and one lease and 5 s in an object store."
)
_OK_EXIT = "Exit codes to turn into 0, separated by commas: 3,75."

ManifestPath: TypeAlias = Annotated[Path, value("HARVESTER_MANIFEST", help="The manifest.")]
Output: TypeAlias = Annotated[str | None, value("HARVESTER_OUTPUT", help=_OUTPUT)]
Format: TypeAlias = Annotated[
    Literal["text", "json"], value("HARVESTER_FORMAT", help="The format of stdout.")
]
Lang: TypeAlias = Annotated[Language | None, value("HARVESTER_LANG", help=_LANG)]
Refetch: TypeAlias = Annotated[
    Literal["all", "empty", "provisional", "quarantined", "refused"] | None,
    value("HARVESTER_REFETCH", help=_REFETCH),
]
Shard: TypeAlias = Annotated[str | None, value("HARVESTER_SHARD", help=_SHARD)]
LockTimeout: TypeAlias = Annotated[str | None, value("HARVESTER_LOCK_TIMEOUT", help=_LOCK_TIMEOUT)]
Labels: TypeAlias = Annotated[
    tuple[str, ...], value("HARVESTER_LABEL", env_var_split=_at_commas, show_default=False)
]
Metrics: TypeAlias = Annotated[Path | None, value("HARVESTER_METRICS")]
# Underscored in signatures, because no verb reads it: `harvester.cli.invoke` does, for all verbs.
OkExit: TypeAlias = Annotated[str, value("HARVESTER_OK_EXIT", help=_OK_EXIT)]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Selecting:
    """Options that narrow the manifest; none of them widens it.

    Params:
        begin_date: Nothing before this day: 2024-01-31, -30d or earliest.
        end_date: Nothing after this day: 2024-01-31, -30d or yesterday.
        accounts: Only these: appids, names, tag:NAME or ATTRIBUTE=VALUE, separated by commas.
        datasets: Only these datasets: names or globs, separated by commas.
        jobs: Only these jobs, separated by commas.
    """

    begin_date: Annotated[str | None, day("HARVESTER_BEGIN_DATE", group=_SELECTING)] = None
    end_date: Annotated[str | None, day("HARVESTER_END_DATE", group=_SELECTING)] = None
    accounts: Annotated[tuple[str, ...], names("HARVESTER_ACCOUNTS")] = ()
    datasets: Annotated[tuple[str, ...], names("HARVESTER_DATASETS")] = ()
    jobs: Annotated[tuple[str, ...], names("HARVESTER_JOBS")] = ()

    def given(self) -> dict[str, Any]:
        """Return the options as arguments of a verb; an option that is left out is None."""
        return {name: None if given == () else given for name, given in asdict(self).items()}

    def chosen(self) -> Any:
        """Return the options as the `Selection` of a verb. Raises UsageError for an empty name."""
        from harvester.verbs.arguments import selection  # noqa: PLC0415 - the help needs none

        return selection(**self.given())


@Parameter(name="*", group=Group("Logging", sort_key=3))
@dataclass(frozen=True, slots=True)
class Logging:
    """Options for the lines on stderr.

    Params:
        log_format: Plain lines, or one JSON object a line.
        log_level: The least important lines shown.
    """

    log_format: Annotated[Literal["text", "json"], value("HARVESTER_LOG_FORMAT")] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], value("HARVESTER_LOG_LEVEL")
    ] = "info"


_PLACES = {"begin": "DAY", "end": "DAY", "manifest": "MANIFEST", "uri": "URI"}
"""Words of usage for arguments that are no options."""

ALL = Selecting()
DEFAULT_LOGGING = Logging()


def spelled(argument: str) -> str:
    """Write the name of an argument of a verb as the command line has it."""
    return _PLACES.get(argument) or f"--{argument.replace('_', '-')}"


def manifest_of(manifest: Path, output: str | None) -> Path | None:
    """Return the manifest to read; None for an output that is named without any manifest."""
    return None if output is not None and manifest == JOBS and not manifest.exists() else manifest


def language_of(lang: Language | None, form: str = "json", *, stderr: bool = False) -> Language:
    """Return the language of what is written; the locale decides it for text on a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    if lang is None and form == "text" and stream.isatty():
        locale = next(filter(None, map(environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
        return "zh" if locale.startswith("zh") else "en"
    return lang or "en"


def parse_ok_exit(text: str) -> frozenset[int]:
    """Parse ``3,75`` as exit codes. Raises UsageError."""
    known = {str(int(code)) for code in Exit}
    codes = _at_commas(str, text) if text else []
    if unknown := set(codes) - known:
        raise UsageError(
            f"--ok-exit `{inert(min(unknown))}` is no exit code of harvester",
            f"write one or more of {', '.join(sorted(known, key=int))}",
        )
    found = frozenset(map(int, codes))
    if found & {Exit.BUG, Exit.USAGE} or (Exit.ATTENTION in found and Exit.AGAIN not in found):
        raise UsageError(
            f"--ok-exit `{inert(text)}` would hide what a person must see",
            "1 and 2 are never turned into 0, and 76 only together with 75",
        )
    return found
