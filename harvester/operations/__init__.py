"""One module per verb, without printing."""

__all__ = [
    "check",
    "clock",
    "forget",
    "gate",
    "plain",
    "plan",
    "project",
    "record",
    "rewrite",
    "run",
    "runtime",
    "session",
    "status",
    "verify",
]
