"""What a job needs in all and what it costs: wanted days, windows, shards, quota, price. Pure."""

__all__ = ["bucket_sizing", "cost", "quota", "sharding", "windows"]
