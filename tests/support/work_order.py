"""Order in which the workers of a test run take their work."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

_SPARK = re.compile(r"/test_spark\.py::|::\w*spark")
"""Tests for the Spark of a session; those of a cluster have their own."""


class FilesAndSpark(LoadFileScheduling):  # type: ignore[misc]
    """Scheduling by file, but all tests with Spark on one worker, so that one alone starts it."""

    def _split_scope(self, nodeid: str) -> str:
        """Return the name of the tests that stay together."""
        return "spark" if _SPARK.search(nodeid) else str(super()._split_scope(nodeid))


def make_scheduler(config: pytest.Config, log: Any) -> FilesAndSpark | None:
    """Return the scheduler for ``--dist loadfile``, which keeps the order of `sort_tests`."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return FilesAndSpark(config, log)


def sort_tests(items: list[pytest.Item]) -> None:
    """Sort tests so that no worker ends much later than the others.

    Spark first, then the files of few tests, which are the long ones. The last files have hundreds
    of tests of milliseconds.
    """
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (not _SPARK.search(item.nodeid), counts[item.path], item.path))
