"""An emulator that all tests of the API share, and an output for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.testing import Sandbox, sandbox


@pytest.fixture(scope="session")
def wechat() -> Iterator[Sandbox]:
    """Three accounts."""
    with sandbox(accounts=3) as found:
        yield found


@pytest.fixture
def manifest(wechat: Sandbox, tmp_path: Path) -> dict[str, Any]:
    """Return a manifest of one dataset of all accounts, with an output of its own."""
    return wechat.manifest(["interface_summary"], output=str(tmp_path / "output"))
