"""Ledgers of calls with numbers that no run enters."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harvester.core.calendar import parse_day
from harvester.core.model import Refusal, ReportedQuota
from harvester.planning.ledger import DayCalls, KnownQuota, Ledger
from tests.support.run_harness import HOURLY, appid

TODAY = parse_day("2026-05-20")


@pytest.mark.parametrize(
    "odd",
    [
        {"recent_calls": -1},
        {"period": math.inf},
        {"idle_from": math.nan},
        {"days": {"2026-05-20": DayCalls({HOURLY: {appid(1): 1 << 41}})}},
        {"days": {"x": DayCalls({}, {HOURLY: {appid(1): Refusal(1 << 41, "no", "")}})}},
        {"known": {HOURLY: {appid(1): KnownQuota(asked_on=-1)}}},
        {"known": {HOURLY: {appid(1): KnownQuota(taught=-1)}}},
        {"known": {HOURLY: {appid(1): KnownQuota(questions=1 << 50)}}},
        {"known": {HOURLY: {appid(1): KnownQuota(ReportedQuota(1, -1, 0, 0.0))}}},
        {"checked": {HOURLY: {appid(1): ReportedQuota(1, 1, 0, math.inf)}}},
    ],
)
def test_a_ledger_with_impossible_numbers_is_refused(odd: dict[str, Any]) -> None:
    """Negative, endless and huge numbers raise ValueError instead of entering a plan."""
    with pytest.raises(ValueError, match=r"^numbers that no ledger has$"):
        Ledger(TODAY, **odd)


def test_negative_codes_of_wechat_are_possible() -> None:
    """Some errcodes of WeChat are negative, and a ledger keeps them."""
    busy = Refusal(-1, "system error", "")
    ledger = Ledger(TODAY, days={"2026-05-20": DayCalls({}, {HOURLY: {appid(1): busy}})})
    assert ledger.exhausted_by(HOURLY, appid(1)) == busy
