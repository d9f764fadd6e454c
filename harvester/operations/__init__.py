"""One module per verb, without printing."""

__all__ = [
    "changes",
    "check",
    "check_report",
    "clock",
    "forget",
    "gate",
    "plain",
    "plan",
    "processes",
    "project",
    "reading",
    "record",
    "rewrite",
    "run",
    "runtime",
    "session",
    "status",
    "verify",
]
