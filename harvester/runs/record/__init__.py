"""The record of a run, and what is told while it goes on."""
