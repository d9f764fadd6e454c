"""Programs that check the examples and are no dependency: they stand in folders of their own.

The variables name virtual environments, as examples/README.md has them made. They are read when
this module is imported, because each test starts without variables of harvester.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLES = {
    name: os.environ.get(name, "")
    for name in (
        "HARVESTER_TEST_AIRFLOW",
        "HARVESTER_TEST_AIRFLOW_2",
        "HARVESTER_TEST_DAGSTER",
        "HARVESTER_TEST_TOOLS",
    )
}
AIRFLOW, AIRFLOW_2, DAGSTER, TOOLS = VARIABLES.values()


def _needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not VARIABLES[name], reason=f"{name} is not set: see examples/README.md"
    )


needs_airflow, needs_airflow_2, needs_dagster, needs_tools = map(_needs, VARIABLES)


def tool(name: str) -> str:
    """Return the path of a program that checks files."""
    return str(Path(TOOLS, "bin", name))
