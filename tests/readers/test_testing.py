"""The emulator for users' tests: what a harvest must find, and arguments that are none."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.catalogue import CATALOGUE
from harvester.core.errors import UsageError
from harvester.testing import sandbox

PROVENANCE = {"_fetched_at", "_run_id", "_extra"}

WRONG: dict[str, tuple[Any, ...]] = {
    "accounts": (0, -1, True, "3", None),
    "today": (5, "tomorrow", "2026-02-30", datetime(2026, 3, 1, tzinfo=UTC)),
    "faults": (5, ["wx"], {"*": "48001"}),
    "seed": ("0", None),
}

MARCH: dict[str, Any] = {
    "dataset": "user_summary",
    "begin_date": "2026-03-01",
    "end_date": "2026-03-02",
}


def test_what_a_harvest_must_find_is_what_the_files_have(tmp_path: Path) -> None:
    """Of each dataset: the same columns, types and rows in the same order."""
    days = ("2026-03-01", "2026-03-31")
    with sandbox(accounts=2, today="2026-06-10") as wechat:
        place = str(tmp_path / "output")
        manifest = wechat.manifest([*CATALOGUE], begin_date=days[0], end_date=days[1], output=place)
        assert harvester.run(manifest | {"output": {"path": place, "buckets": 1}}).exit_code == 0
        out = harvester.open(place)
        assert {*out.datasets} == {*CATALOGUE}
        for name in out.datasets:
            found, truth = out.arrow(name).to_table(), wechat.expected(name, *days)
            assert found.column_names[: truth.num_columns] == truth.column_names
            assert {*found.column_names} - {*truth.column_names} == {*PROVENANCE, "ref_month"}
            assert found.select(truth.column_names) == truth, name


def test_days_without_rows_have_the_columns_all_the_same() -> None:
    """A comparison of types needs no row."""
    with sandbox(accounts=1) as wechat:
        nothing = wechat.expected("upstream_msg_week", "2026-03-03", "2026-03-04")
        assert nothing.num_rows == 0
        assert nothing.schema == wechat.expected("upstream_msg_week").schema


def test_what_is_expected_without_days_is_what_a_manifest_without_days_finds(
    tmp_path: Path,
) -> None:
    """From 30 days ago up to the newest day or week that is ready; articles still grow."""
    names = ["interface_summary", "upstream_msg_week", "biz_summary", "article_total_detail"]
    with sandbox(accounts=2, today="2026-06-10") as wechat:
        harvester.run(wechat.manifest(names, output=str(tmp_path)))
        for name in names:
            truth = wechat.expected(name)
            found = harvester.open(tmp_path).arrow(name).to_table(truth.column_names)
            keys = [(key, "ascending") for key in ("appid", "ref_date", *CATALOGUE[name].key)]
            assert found.sort_by(keys) == truth.sort_by(keys), name


def test_a_wrong_argument_is_a_usage_error_that_names_it() -> None:
    """As for every other public function."""
    assert inspect.signature(sandbox).parameters.keys() == WRONG.keys()
    for argument, values in WRONG.items():
        for value in values:
            with pytest.raises(UsageError, match=argument), sandbox(**{argument: value}):
                pass


@pytest.mark.parametrize(
    ("method", "given", "said"),
    [
        ("expected", MARCH | {"dataset": "user_sumary"}, "unknown dataset"),
        ("expected", MARCH | {"dataset": 5}, "dataset"),
        ("expected", MARCH | {"begin_date": "soon"}, "begin_date"),
        ("expected", MARCH | {"end_date": 5}, "end_date"),
        ("manifest", {"datasets": "user_summary"}, "datasets"),
        ("manifest", {"output": 5}, "output"),
        ("fail", {"appid": "*", "errcode": "48001"}, "errcode"),
        ("heal", {"appid": 5}, "appid"),
    ],
)
def test_methods_check_their_arguments(method: str, given: dict[str, Any], said: str) -> None:
    """As those of an output do."""
    with sandbox(accounts=1) as wechat, pytest.raises(UsageError, match=said):
        getattr(wechat, method)(**given)
