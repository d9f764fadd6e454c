"""Verbs that repair, copy or delete an output, for the command line."""

from __future__ import annotations

from harvester.operations.forget import Receipt, forget
from harvester.operations.project import open_harvested
from harvester.operations.rewrite import NewTree, rewrite
from harvester.operations.verify import Damage, Verdict, verify

__all__ = [
    "Damage",
    "NewTree",
    "Receipt",
    "Verdict",
    "forget",
    "open_harvested",
    "rewrite",
    "verify",
]
