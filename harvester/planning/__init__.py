"""The needs of a job and their cost: wanted days, requests, shards, quota, price. Pure."""
