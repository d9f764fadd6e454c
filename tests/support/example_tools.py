"""Programs that check the examples and are no dependency: they stand in folders of their own.

The variables name virtual environments, as examples/README.md has them made. They are read when
this module is imported, because each test starts without variables of harvester.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.doc_pages import blocks

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
WAREHOUSES = os.environ.get("HARVESTER_TEST_WAREHOUSES", "")
_REQUIRED = os.environ.get("HARVESTER_REQUIRE_WAREHOUSES", "") not in {"", "0"}


def _needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not VARIABLES[name], reason=f"{name} is not set: see examples/README.md"
    )


needs_airflow, needs_airflow_2, needs_dagster, needs_tools = map(_needs, VARIABLES)


def tool(name: str) -> str:
    """Return the path of a program that checks files."""
    return str(Path(TOOLS, "bin", name))


def absent_lines(page: Path, log: str) -> Iterator[str]:
    """Yield the lines of a page's logs that are not in a log; a ``…`` stands for anything."""
    for block in blocks(page, "log"):
        for line in block.text.splitlines():
            parts = [re.escape(part.strip()) for part in line.split("…")]
            if not re.search(".*".join(parts), log):
                yield line


def python_with(*modules: str) -> str:
    """Return the Python of the warehouses, or this one if it has the modules.

    Skips the test without one, or fails it if HARVESTER_REQUIRE_WAREHOUSES is set, as at night.
    """
    if WAREHOUSES:
        return str(Path(WAREHOUSES, "bin", "python"))
    if _REQUIRED:
        pytest.fail("HARVESTER_REQUIRE_WAREHOUSES is set, and HARVESTER_TEST_WAREHOUSES is not")
    missing = [name for name in modules if not importlib.util.find_spec(name)]
    if missing:
        where = "HARVESTER_TEST_WAREHOUSES is not set: see .ci/full"
        pytest.skip(f"{', '.join(missing)} is not installed here, and {where}")
    return sys.executable
