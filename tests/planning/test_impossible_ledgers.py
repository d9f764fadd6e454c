"""Ledgers of calls with numbers that no run enters."""

from __future__ import annotations

from typing import Any

import pytest

from harvester.core.calendar import parse_day
from harvester.core.model import Refusal
from harvester.planning.ledger import DayCalls, Ledger
from harvester.storage.state.json_file import encoded, parse, value_of
from tests.support.run_harness import HOURLY, appid

TODAY = parse_day("2026-05-20")


@pytest.mark.parametrize(
    "odd",
    [
        {"recent_calls": -1},
        {"period": 1e300},
        {"idle_from": -0.5},
        {"days": {"2026-05-20": {"calls": {HOURLY: {appid(1): 1 << 41}}}}},
        {"days": {"x": {"exhausted": {HOURLY: {appid(1): [1 << 41, "no", ""]}}}}},
        {"deferred": {HOURLY: {appid(1): [[-1, "no", ""], -1, 3]}}},
        {"known": {HOURLY: {appid(1): {"asked_on": -1}}}},
        {"known": {HOURLY: {appid(1): {"taught": -1}}}},
        {"known": {HOURLY: {appid(1): {"questions": 1 << 50}}}},
        {"known": {HOURLY: {appid(1): {"reported": [1, -1, 0, 0.0]}}}},
        {"known": {HOURLY: {appid(1): {"reported": [1, 1, 0, 1e300]}}}},
    ],
)
def test_a_ledger_with_impossible_numbers_is_damaged(odd: dict[str, Any]) -> None:
    """Negative and huge numbers do not enter a plan; JSON has no infinite ones."""
    whole = {**parse(encoded(Ledger(TODAY))), **odd}
    assert value_of(whole, Ledger) is None
    possible = _possible(odd)
    assert value_of({**whole, **possible}, Ledger) is not None


def _possible(odd: Any) -> Any:
    """Return the same with 1 for each number."""
    if isinstance(odd, dict):
        return {name: _possible(value) for name, value in odd.items()}
    if isinstance(odd, list):
        return [_possible(value) for value in odd]
    return odd if isinstance(odd, str) else 1


def test_negative_codes_of_wechat_are_possible() -> None:
    """Some errcodes of WeChat are negative, and a ledger keeps them."""
    busy = Refusal(-1, "system error", "")
    ledger = Ledger(TODAY, days={"2026-05-20": DayCalls({}, {HOURLY: {appid(1): busy}})})
    again = value_of(parse(encoded(ledger)), Ledger)
    assert again is not None
    assert again.exhausted_by(HOURLY, appid(1)) == busy
