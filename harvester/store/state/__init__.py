"""Small files beside the data: quotas, run records, and the like."""
