"""An output for programs: Arrow, DuckDB, Polars, Spark, and the emulator for tests.

Needs no manifest and no secret of WeChat.
"""

__all__ = ["output", "spark", "testing"]
