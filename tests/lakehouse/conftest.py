"""An output of two buckets and two months, and a place for its tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lakehouse.duck import install_extensions
from tests.lakehouse.exports import Lakeside


@pytest.fixture
def lakeside(tmp_path: Path) -> Lakeside:
    """An output with a first run, and the place beside it."""
    made = Lakeside(tmp_path)
    made.harness.run()
    return made


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which DuckDB finds its extensions."""
    made = tmp_path_factory.mktemp("home")
    install_extensions(made)
    return made


@pytest.fixture
def extensions(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Extensions of DuckDB, for each connection."""
    monkeypatch.setenv("HOME", str(home))
