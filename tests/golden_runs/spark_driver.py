"""Driver of a local Spark: harvests with the options that stdin has, a line of JSON each.

As a program it answers the id of its application, and then each line with rows or an error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.golden_runs.stage import Harvest, Stage

_SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.session.timeZone": "UTC",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
_ENVIRONMENT = {
    "PYSPARK_PYTHON": sys.executable,
    "SPARK_LOCAL_IP": "127.0.0.1",
    "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


class Driver:
    """A driver as a process of its own, whose harvests are written down on a stage."""

    def __init__(self, stage: Stage, process: subprocess.Popen[str]) -> None:
        self._stage = stage
        self._process = process
        stage.hidden[self._answer()] = "<application>"

    def harvest(self, **options: Any) -> None:
        """Harvest the manifest of the stage."""
        self.begin(**options)
        self.finish()

    def begin(self, **options: Any) -> None:
        """Begin a harvest, for `finish`."""
        self._stage.write_manifest()
        self._options, self._before = options, self._stage.records()
        assert self._process.stdin is not None
        print(json.dumps(options), file=self._process.stdin, flush=True)

    def finish(self) -> None:
        """Wait for the end of the harvest, and write down what became of it."""
        answer, new = self._answer(), self._stage.records() - self._before
        records = [json.loads(path.read_bytes()) for path in new]
        self._stage.harvests.append(Harvest(self._options, **answer, records=records))

    def kill_task(self, lock: str) -> None:
        """Kill the worker that holds a lock."""
        for process in psutil.Process(self._process.pid).children(recursive=True):
            if any(Path(file.path).name == lock for file in process.open_files()):
                process.kill()
                return
        raise LookupError(lock)

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def driver(stage: Stage) -> Iterator[Driver]:
    """Start a driver in the folder of a stage, and end it after the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.golden_runs.spark_driver"],
        env={**os.environ, **_ENVIRONMENT},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Driver(stage, process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


def main() -> None:
    """Answer until stdin ends."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - the other half needs no Spark

    builder: SparkSession.Builder = SparkSession.builder.master("local[2,2]")
    with builder.config(map={**_SETTINGS}).getOrCreate() as spark:
        _tell(spark.sparkContext.applicationId)
        for line in sys.stdin:
            _tell(_harvest(spark, json.loads(line)))


def _tell(value: Any) -> None:
    sys.stdout.write(f"{json.dumps(value, default=str)}\n")
    sys.stdout.flush()


def _harvest(spark: Any, options: dict[str, Any]) -> dict[str, Any]:
    import harvester  # noqa: PLC0415 - as above
    from harvester.spark import harvest  # noqa: PLC0415 - as above

    try:
        rows = harvest(spark, "jobs.yaml", **options).collect()
    except harvester.HarvesterError as error:
        told = {"type": type(error).__name__, "exit_code": error.exit_code, "text": str(error)}
        return {"rows": None, "error": told | {"notes": getattr(error, "__notes__", [])}}
    return {"rows": [row.asDict(recursive=True) for row in rows], "error": None}


if __name__ == "__main__":
    main()
