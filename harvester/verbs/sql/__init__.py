"""Views of an output in SQL: the datasets, the tables beside them, and the reports."""

from __future__ import annotations

__all__ = ["definitions", "dialects", "script"]
