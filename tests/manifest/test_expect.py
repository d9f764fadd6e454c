"""Expectations of a manifest: which entry decides about a dataset, and what a share means."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.config import parsers
from harvester.core.config.expect import CompleteBy, Expect
from harvester.core.errors import InvalidValue
from harvester.manifest import loader

NOW = calendar.instant(calendar.parse_day("2026-06-15"), 12 * 60)


def expected(written: dict[str, Any]) -> dict[str, Expect]:
    """Return what a manifest with these entries expects, by dataset."""
    least = {"api": {"base_url": "sandbox"}, "accounts": [{"appid": "wx0000000000000001"}]}
    text = yaml.safe_dump({**least, "jobs": [{}], "expect": written}, sort_keys=False)
    found = loader.read(Path("jobs.yaml"), environ={"SHARE": "90%"}, now=NOW, text=text).manifest()
    return dict(found.expect)


def days(*texts: str) -> list[str]:
    """Return the days of a list as text, each once."""
    every = Expect(quiet=tuple(map(parsers.quiet_days, texts))).quiet_days
    return [calendar.day_text(day) for day in calendar.each_day(every)]


def test_nothing_is_expected_by_default() -> None:
    """A manifest without the key expects nothing of any dataset."""
    assert expected({}) == {}


def test_the_entry_of_a_dataset_is_laid_over_others_key_by_key() -> None:
    """Whatever the order in the file: all, then globs, then the dataset; quiet days add up."""
    found = expected(
        {
            "getusersummary": {"min_share_with_rows": "${SHARE}", "quiet": ["2026-06-01"]},
            "user_*": {"complete_by": "13:00", "min_share_with_rows": "10%"},
            "all": {"complete_by": {"time": "11:00", "share": "80%"}, "quiet": ["2026-05-01"]},
            "user_cumulate": {"gate": "closed"},
        }
    )
    assert found.keys() == CATALOGUE.keys()
    one, two, other = found["user_summary"], found["user_cumulate"], found["upstream_msg"]
    assert one.complete_by == two.complete_by == CompleteBy(13 * 60, 0.95)
    assert (one.min_share_with_rows, two.min_share_with_rows) == (0.9, 0.1)
    assert (one.gate, two.gate, other.gate) == ("open", "closed", "open")
    assert other.complete_by == CompleteBy(11 * 60, 0.8)
    assert len(one.quiet) == 2
    assert two.quiet == other.quiet


def test_rows_of_a_sparse_dataset_are_expected_by_its_own_entry_alone() -> None:
    """Most days of an account without new articles are empty, and nothing is the matter."""
    every = expected({"all": {"min_share_with_rows": "50%", "complete_by": "12:00"}})
    sparse = {name for name, dataset in CATALOGUE.items() if dataset.sparse}
    assert {name for name, each in every.items() if each.min_share_with_rows is None} == sparse
    assert all(each.complete_by for each in every.values())
    some = expected({"all": {"complete_by": "12:00"}, "article_*": {"min_share_with_rows": "5%"}})
    assert some["article_read"].min_share_with_rows == 0.05


def test_quiet_days_include_both_ends() -> None:
    """A range may cross months; a single day is one."""
    assert days("2026-02-28..2026-03-01", "2026-05-01") == [
        "2026-02-28",
        "2026-03-01",
        "2026-05-01",
    ]


@pytest.mark.parametrize(
    "text", ["2026-02-15..", "..2026-02-15", "2026-02-15...2026-02-16", "15.2.2026", "today", ""]
)
def test_quiet_days_that_are_none(text: str) -> None:
    """Only whole days are days."""
    with pytest.raises(InvalidValue):
        parsers.quiet_days(text)


@given(st.integers(1, 100_000))
def test_a_share_is_the_number_that_is_written(thousandths: int) -> None:
    """No float makes 99.9% more than 999 of 1000."""
    text = f"{thousandths // 1000}.{thousandths % 1000:03d}%"
    assert Fraction(str(parsers.percentage(text))) == Fraction(thousandths, 100_000)


@pytest.mark.parametrize("text", ["0%", "0.000%", "100.001%", "999%", "-5%", "95", "0.95", "%"])
def test_shares_that_are_none(text: str) -> None:
    """A share is more than nothing and at most all, in per cent."""
    with pytest.raises(InvalidValue):
        parsers.percentage(text)
