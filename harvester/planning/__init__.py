"""The needs of a job and their cost: wanted days, requests, shards, quota, price. Pure."""

__all__ = ["bucket_sizing", "cost", "engine_shard", "ledger", "quota", "sharding", "wanted_days"]
