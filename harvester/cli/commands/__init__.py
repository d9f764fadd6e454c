"""One module per verb: its options, and its answer as text or JSON."""
