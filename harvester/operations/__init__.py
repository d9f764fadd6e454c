"""One module per verb, without printing."""

__all__ = [
    "asking",
    "changes",
    "check",
    "clock",
    "coverage",
    "fetch",
    "forget",
    "inputs",
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
