"""Bytes at rest: backends, locks, layout, raw log, data files and side files."""

__all__ = [
    "backends",
    "coverage_scan",
    "inspect",
    "layout",
    "locks",
    "partitions",
    "publish",
    "quarantine",
    "raw_log",
    "state",
    "unmanaged_files",
]
