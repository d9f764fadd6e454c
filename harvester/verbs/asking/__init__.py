"""Calls that a person waits for, as values: the report of probes."""
