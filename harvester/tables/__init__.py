"""Decoding of answers to rows, and merging of rows into tables. Pure: in memory, in Arrow."""

__all__ = [
    "arrow_functions",
    "columns",
    "corrections",
    "coverage",
    "coverage_rows",
    "day_rows",
    "decode",
    "decode_batch",
    "derived",
    "equal_rows",
    "evidence",
    "integrity",
    "merge",
    "row_difference",
    "row_groups",
    "schema_upgrade",
]
