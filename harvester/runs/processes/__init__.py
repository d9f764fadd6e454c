"""Runs in several processes: one shares out the work, and each of the others harvests a shard."""
