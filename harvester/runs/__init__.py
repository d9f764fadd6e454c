"""One run from lock to record: its facts, its record, its processes. Knows no manifest file."""

__all__ = [
    "access",
    "clock",
    "clock_check",
    "event_loop",
    "harvest",
    "platform_accounts",
    "processes",
    "record",
    "runtime",
    "session",
]
