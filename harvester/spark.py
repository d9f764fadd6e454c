"""A harvest on a Spark cluster. Needs pyspark: the extra `spark`."""

from harvester.readers.spark import harvest

__all__ = ["harvest"]
