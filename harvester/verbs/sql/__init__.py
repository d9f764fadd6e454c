"""Views of an output in SQL: the datasets, the tables beside them, and the reports."""

__all__ = ["definitions", "dialects", "script"]
