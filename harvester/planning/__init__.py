"""The needs of a job and their cost: wanted days, windows, shards, quota, price. Pure."""

__all__ = ["bucket_sizing", "cost", "daily_quota", "engine_shard", "quota", "sharding", "windows"]
