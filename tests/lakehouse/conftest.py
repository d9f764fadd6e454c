"""An output of two buckets and two months, and a place for its tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lakehouse.exports import Lakeside


@pytest.fixture
def lakeside(tmp_path: Path) -> Lakeside:
    """An output with a first run, and the place beside it."""
    made = Lakeside(tmp_path)
    made.harness.run()
    return made
