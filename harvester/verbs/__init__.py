"""One public module a verb: values in, a typed result out, nothing printed.

`harvester` itself has the public names; importing them loads nothing until one is used.
"""

from __future__ import annotations

__all__ = [
    "account_status",
    "arguments",
    "changes",
    "check",
    "check_report",
    "fetch",
    "forget",
    "gate",
    "lakehouse",
    "plan",
    "progress",
    "project",
    "report",
    "results",
    "rewrite",
    "run",
    "sql",
    "status",
    "summary_file",
    "verify",
]
