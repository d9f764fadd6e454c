"""Harvest WeChat Official Account statistics into partitioned Parquet."""

__version__ = "0.1.0"
