"""One public module a verb: values in, a typed result out, nothing printed.

`harvester` itself has the public names; importing them loads nothing until one is used.
"""

from __future__ import annotations

__all__ = [
    "account_status",
    "api_check",
    "api_fetch",
    "api_verbs",
    "arguments",
    "changes",
    "forget",
    "gate",
    "plan",
    "progress",
    "project",
    "results",
    "rewrite",
    "run",
    "status",
    "verify",
]
