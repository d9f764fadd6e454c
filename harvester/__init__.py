"""Harvest WeChat Official Account statistics into partitioned Parquet.

The functions and types of the Python API are loaded when they are first used; `docs/python.md`
describes them.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Without it Python prints warnings of a library whose program has set up no logging.
logging.getLogger("harvester").addHandler(logging.NullHandler())

if TYPE_CHECKING:
    from harvester.core.config.settings import Manifest
    from harvester.core.errors import (
        Busy,
        DamagedOutput,
        HarvesterError,
        HistoryLost,
        Mistake,
        PartialFailure,
        RunFailed,
        Stopped,
        Unanswered,
        Unauthorised,
        Unfinished,
        UsageError,
    )
    from harvester.core.exit_codes import Outcome
    from harvester.core.results import Change, DatasetPlan, PausedAccount
    from harvester.readers.output import Output, open
    from harvester.runs.record.account_report import AccountSummary, DatasetSummary
    from harvester.runs.record.attention import Attention
    from harvester.runs.record.events import (
        Event,
        Problem,
        Progress,
        Published,
        RunEnded,
        RunStarted,
    )
    from harvester.verbs.account_status import AccountStatus, MissingDays
    from harvester.verbs.asking.check_report import AccountCheck, Check
    from harvester.verbs.check import check
    from harvester.verbs.fetch import Answer, fetch
    from harvester.verbs.gate import Gate
    from harvester.verbs.plan import Plan, plan
    from harvester.verbs.project import read_manifest
    from harvester.verbs.results import Result
    from harvester.verbs.run import run, run_async
    from harvester.verbs.status import Status, status
    from harvester.verbs.verify import Damage, Report

_HOMES = {
    "core.config.settings": ("Manifest",),
    "core.exit_codes": ("Outcome",),
    "runs.record.account_report": ("AccountSummary", "DatasetSummary"),
    "runs.record.attention": ("Attention",),
    "verbs.account_status": ("AccountStatus", "MissingDays"),
    "verbs.gate": ("Gate",),
    "core.errors": (
        "Busy",
        "DamagedOutput",
        "HarvesterError",
        "HistoryLost",
        "Mistake",
        "PartialFailure",
        "RunFailed",
        "Stopped",
        "Unanswered",
        "Unauthorised",
        "Unfinished",
        "UsageError",
    ),
    "core.results": ("Change", "DatasetPlan", "PausedAccount"),
    "readers.output": ("Output", "open"),
    "runs.record.events": ("Event", "Problem", "Progress", "Published", "RunEnded", "RunStarted"),
    "verbs.asking.check_report": ("AccountCheck", "Check"),
    "verbs.check": ("check",),
    "verbs.fetch": ("Answer", "fetch"),
    "verbs.project": ("read_manifest",),
    "verbs.plan": ("Plan", "plan"),
    "verbs.results": ("Result",),
    "verbs.run": ("run", "run_async"),
    "verbs.status": ("Status", "status"),
    "verbs.verify": ("Damage", "Report"),
}
"""The public names, by the module that has them."""

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AccountCheck",
    "AccountStatus",
    "AccountSummary",
    "Answer",
    "Attention",
    "Busy",
    "Change",
    "Check",
    "Damage",
    "DamagedOutput",
    "DatasetPlan",
    "DatasetSummary",
    "Event",
    "Gate",
    "HarvesterError",
    "HistoryLost",
    "Manifest",
    "MissingDays",
    "Mistake",
    "Outcome",
    "Output",
    "PartialFailure",
    "PausedAccount",
    "Plan",
    "Problem",
    "Progress",
    "Published",
    "Report",
    "Result",
    "RunEnded",
    "RunFailed",
    "RunStarted",
    "Status",
    "Stopped",
    "Unanswered",
    "Unauthorised",
    "Unfinished",
    "UsageError",
    "__version__",
    "check",
    "fetch",
    "open",
    "plan",
    "read_manifest",
    "run",
    "run_async",
    "status",
]


if not TYPE_CHECKING:
    # Hidden from type checkers, for which it would make every name one of the package.
    def __getattr__(name: str) -> Any:
        """Load the module of a public name when it is first used."""
        if name not in _HOME_OF:
            raise AttributeError(f"module 'harvester' has no attribute {name!r}")
        return getattr(import_module(f"harvester.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
