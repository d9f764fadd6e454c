"""Reading of an output without its manifest."""
