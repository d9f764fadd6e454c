"""The tasks and threads of one harvest: workers, raw writer, publish queue, call budget."""

__all__ = ["call_budget", "ledger_files", "pipeline", "rate_limiter"]
