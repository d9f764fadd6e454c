"""Cases for the night: the many of which the tests of every push try a few."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def by_night(values: Iterable[Any]) -> list[Any]:
    """Return cases that only ``-m slow`` tries; a tuple has a value for each parameter."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow)
        for value in values
    ]


def few_by_day(values: Iterable[Any], few: Iterable[Any]) -> list[Any]:
    """Return all cases, of which ``-m slow`` alone tries those not in ``few``."""
    by_day = [*few]
    return [value if value in by_day else by_night([value])[0] for value in values]
