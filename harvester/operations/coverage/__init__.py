"""Coverage for readers: by account, the causes of missing days, and the gate for other jobs."""
