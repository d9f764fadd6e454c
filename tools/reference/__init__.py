"""The generated part of the pages: ``python -m tools.reference`` writes docs/reference."""
