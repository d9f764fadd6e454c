"""Bytes at rest: backends, locks, layout, raw log, data files and side files."""
