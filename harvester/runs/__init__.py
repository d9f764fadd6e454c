"""One run from lock to record: its facts, its record, its processes. Knows no manifest file."""
