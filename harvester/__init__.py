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
    # `as` makes a name public for type checkers.
    from harvester.core.config.settings import Manifest as Manifest
    from harvester.core.errors import Busy as Busy
    from harvester.core.errors import DamagedOutput as DamagedOutput
    from harvester.core.errors import HarvesterError as HarvesterError
    from harvester.core.errors import HistoryLost as HistoryLost
    from harvester.core.errors import Mistake as Mistake
    from harvester.core.errors import PartialFailure as PartialFailure
    from harvester.core.errors import RunFailed as RunFailed
    from harvester.core.errors import Stopped as Stopped
    from harvester.core.errors import Unanswered as Unanswered
    from harvester.core.errors import Unauthorised as Unauthorised
    from harvester.core.errors import Unfinished as Unfinished
    from harvester.core.errors import UsageError as UsageError
    from harvester.core.exit_codes import Outcome as Outcome
    from harvester.core.results import Change as Change
    from harvester.core.results import DatasetPlan as DatasetPlan
    from harvester.core.results import PausedAccount as PausedAccount
    from harvester.readers.output import Output as Output
    from harvester.readers.output import open as open
    from harvester.runs.record.account_report import AccountSummary as AccountSummary
    from harvester.runs.record.account_report import DatasetSummary as DatasetSummary
    from harvester.runs.record.attention import Attention as Attention
    from harvester.runs.record.events import Event as Event
    from harvester.runs.record.events import Problem as Problem
    from harvester.runs.record.events import Progress as Progress
    from harvester.runs.record.events import Published as Published
    from harvester.runs.record.events import RunEnded as RunEnded
    from harvester.runs.record.events import RunStarted as RunStarted
    from harvester.verbs.account_status import AccountStatus as AccountStatus
    from harvester.verbs.account_status import MissingDays as MissingDays
    from harvester.verbs.check import check as check
    from harvester.verbs.check_report import AccountCheck as AccountCheck
    from harvester.verbs.check_report import Check as Check
    from harvester.verbs.fetch import Answer as Answer
    from harvester.verbs.fetch import fetch as fetch
    from harvester.verbs.gate import Gate as Gate
    from harvester.verbs.plan import Plan as Plan
    from harvester.verbs.plan import plan as plan
    from harvester.verbs.project import read_manifest as read_manifest
    from harvester.verbs.report import ReportPage as ReportPage
    from harvester.verbs.report import report as report
    from harvester.verbs.results import Result as Result
    from harvester.verbs.run import run as run
    from harvester.verbs.run import run_async as run_async
    from harvester.verbs.status import Status as Status
    from harvester.verbs.status import status as status
    from harvester.verbs.verify import Damage as Damage
    from harvester.verbs.verify import Report as Report

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
    "verbs.check_report": ("AccountCheck", "Check"),
    "verbs.check": ("check",),
    "verbs.fetch": ("Answer", "fetch"),
    "verbs.project": ("read_manifest",),
    "verbs.plan": ("Plan", "plan"),
    "verbs.report": ("ReportPage", "report"),
    "verbs.results": ("Result",),
    "verbs.run": ("run", "run_async"),
    "verbs.status": ("Status", "status"),
    "verbs.verify": ("Damage", "Report"),
}
"""The public names, by the module that has them."""

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

# Hidden from type checkers, for which it would make every name one of the package.
if not TYPE_CHECKING:
    __all__ = ["__version__", *_HOME_OF]  # noqa: PLE0604 - the names are texts

    def __getattr__(name: str) -> Any:
        """Load the module of a public name when it is first used."""
        if name not in _HOME_OF:
            raise AttributeError(f"module 'harvester' has no attribute {name!r}")
        return getattr(import_module(f"harvester.{_HOME_OF[name]}"), name)

    def __dir__() -> list[str]:
        return sorted(__all__)
