"""The summary of a run, its record and its journal."""
