"""Ledgers of calls with numbers that no run enters."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harvester.core.calendar import parse_day
from harvester.core.model import Refusal
from harvester.planning.quota import DayLedger
from tests.support.run_harness import HOURLY, appid

TODAY = parse_day("2026-05-20")


@pytest.mark.parametrize(
    "odd",
    [
        {"recent_calls": -1},
        {"period": math.inf},
        {"idle_from": math.nan},
        {"calls": {HOURLY: {appid(1): 1 << 41}}},
        {"exhausted": {HOURLY: {appid(1): Refusal(1 << 41, "no", "")}}},
    ],
    ids=lambda odd: next(iter(odd)),
)
def test_a_ledger_with_impossible_numbers_is_refused(odd: dict[str, Any]) -> None:
    """Negative, endless and huge numbers raise ValueError instead of entering a plan."""
    with pytest.raises(ValueError, match=r"^numbers that no ledger has$"):
        DayLedger(TODAY, **odd)


def test_negative_codes_of_wechat_are_possible() -> None:
    """Some errcodes of WeChat are negative, and a ledger keeps them."""
    busy = Refusal(-1, "system error", "")
    ledger = DayLedger(TODAY, exhausted={HOURLY: {appid(1): busy}})
    assert ledger.exhausted_by(HOURLY, appid(1)) == busy
