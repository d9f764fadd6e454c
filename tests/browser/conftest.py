"""Pages for the tests in Chromium, which are skipped without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.made_pages import Made
from tests.browser.visits import REQUIRED, missing


@pytest.fixture(scope="session")
def browser() -> None:
    """Skip without Chromium, or fail if it is required: .ci/full may not skip."""
    reason = missing()
    if reason and REQUIRED:
        pytest.fail(f"HARVESTER_REQUIRE_BROWSER is set, but {reason}")
    if reason:
        pytest.skip(reason)


@pytest.fixture
def written(browser: None, tmp_path: Path) -> Callable[..., Path]:
    """Return how to write a page of so many accounts and days."""

    def write(accounts: int = 20, columns: int = 400, **options: Any) -> Path:
        return Made(accounts, columns, **options).write(tmp_path / "report.html")

    return write
