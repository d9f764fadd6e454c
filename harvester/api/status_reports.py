"""Reports of what an output has and lacks, as the command line prints them."""

from __future__ import annotations

from harvester.operations.coverage.account_status import AccountStatus, DaysOfAccount, MissingDays
from harvester.operations.coverage.gate import Gate, LostDays, Required
from harvester.operations.plan import PricedPlan
from harvester.operations.status import Status

__all__ = [
    "AccountStatus",
    "DaysOfAccount",
    "Gate",
    "LostDays",
    "MissingDays",
    "PricedPlan",
    "Required",
    "Status",
]
