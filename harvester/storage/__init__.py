"""Bytes at rest: backends, locks, layout, raw log, data files and side files."""

__all__ = [
    "arrow_files",
    "backends",
    "coverage_scan",
    "derived",
    "empty_everywhere",
    "footer",
    "integrity_check",
    "layout",
    "locks",
    "partition_reader",
    "partition_writer",
    "publication",
    "publish",
    "quarantine",
    "raw_log",
    "state",
]
