"""Wanted days of an output, each with its state and the cause of what is missing."""
