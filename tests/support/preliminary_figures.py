"""Figures as WeChat answers them while it still computes: too small, and other ones every day."""

from __future__ import annotations

from typing import Any

from harvester.sandbox.data import Row
from harvester.sandbox.data.account import words

_CODES = {"ref_hour", "user_source", "msg_type", "count_interval", "publish_type", "position"}
"""Members whose integers are codes, not counts."""


def preliminary(rows: list[Row], *, age: int, chance: str) -> list[Row]:
    """Return the rows as they may be answered ``age`` days after their period.

    Every count above zero is too small, by up to a half on the first day and by less from day to
    day; sums and equalities within a row hold approximately. Of several rows one may be missing.
    """
    missing, which, *lacking = words(f"unsettled {chance}", 2 + len(rows))
    young = [
        _scaled(row, 1023 - lack % (512 >> min(age - 1, 8)))
        for row, lack in zip(rows, lacking, strict=True)
    ]
    if len(young) > 1 and not missing % 3:
        del young[which % len(young)]
    return young


def _scaled(value: Any, share: int, name: str = "") -> Any:
    """Scale all counts in a row, at any depth, to ``share`` 1024ths."""
    if isinstance(value, dict):
        return {key: _scaled(inner, share, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_scaled(inner, share, name) for inner in value]
    if isinstance(value, int) and name not in _CODES:
        return value * share >> 10
    return value
