"""Calls that a person waits for, as values: probes, their report, and the answer to a window."""
