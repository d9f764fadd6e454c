"""The processes that are measured, and the server they talk to."""
