"""Reads ``jobs.yaml`` into the configuration, or reports every mistake in it at once."""

__all__ = [
    "account_selection",
    "doubts",
    "external_inputs",
    "json_schema",
    "loader",
    "narrowing",
    "option_values",
    "pause_lines",
    "resolve_credentials",
    "text_file",
]
