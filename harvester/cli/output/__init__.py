"""Tables, progress, logs and the standard streams."""
