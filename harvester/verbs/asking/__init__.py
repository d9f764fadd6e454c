"""Calls that a person waits for: probes of accounts, and one window asked now."""
