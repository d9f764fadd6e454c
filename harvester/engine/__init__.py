"""Tasks and threads of one harvest, and of one window that is asked alone."""

__all__ = ["call_budget", "ledger_files", "lone_calls", "pipeline", "rate_limiter"]
