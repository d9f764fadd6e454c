"""Side files: run records, journals, quota ledgers and other small JSON files."""
