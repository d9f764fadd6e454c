"""One run from lock to record: its facts, its record, its processes. Knows no manifest file."""

__all__ = [
    "access",
    "attention_finder",
    "clock",
    "days",
    "event_loop",
    "facts",
    "harvest",
    "narrator",
    "platform_accounts",
    "processes",
    "record",
    "run_log",
    "runtime",
    "stream",
    "token_comparison",
    "user_files",
    "waits",
]
