"""One module per verb, without printing."""

__all__ = [
    "check",
    "forget",
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
