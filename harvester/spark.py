"""A harvest on a Spark cluster. Needs pyspark: the extra `spark`."""

from harvester.api.spark import harvest

__all__ = ["harvest"]
