"""Harvest on a Spark cluster, one task per shard: ``submit.sh`` submits it.

Ends with the exit code of a run: 0, 75 if a later run can obtain more, 76 if something needs a
person as well, 3 if days are missing that no run obtains by itself, 2 for a mistake.
"""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

import harvester
from harvester.spark import harvest


def main(manifest: str) -> int:
    """Harvest, print one row per shard, and return the exit code."""
    spark = SparkSession.builder.appName("harvester").getOrCreate()
    try:
        found = harvest(spark, manifest, max_duration="50m", forward_env=[])
        found.select("shard", "outcome", "retry_at", "requests", "rows").show(1000, truncate=False)
        codes = {row.exit_code for row in found.collect()}
    except harvester.HarvesterError as error:
        print(error, *getattr(error, "__notes__", ()), error.advice, sep="\n", file=sys.stderr)
        return int(error.exit_code)
    finally:
        spark.stop()
    return next((code for code in (76, 75, 3) if code in codes), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
