"""Programs that check the examples and are no dependency: they stand in folders of their own.

The variables name virtual environments, as examples/README.md has them made. They are read when
this module is imported, because each test starts without variables of harvester.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TOOLS = os.environ.get("HARVESTER_TEST_TOOLS", "")
AIRFLOW = os.environ.get("HARVESTER_TEST_AIRFLOW", "")
AIRFLOW_2 = os.environ.get("HARVESTER_TEST_AIRFLOW_2", "")
DAGSTER = os.environ.get("HARVESTER_TEST_DAGSTER", "")


def _needs(name: str, folder: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not folder, reason=f"{name} is not set: see examples/README.md")


needs_tools = _needs("HARVESTER_TEST_TOOLS", TOOLS)
needs_airflow = _needs("HARVESTER_TEST_AIRFLOW", AIRFLOW)
needs_airflow_2 = _needs("HARVESTER_TEST_AIRFLOW_2", AIRFLOW_2)
needs_dagster = _needs("HARVESTER_TEST_DAGSTER", DAGSTER)


def tool(name: str) -> str:
    """Return the path of a program that checks files."""
    return str(Path(TOOLS, "bin", name))
