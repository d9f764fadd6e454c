"""The CPU time of a manifest with ten thousand accounts."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from harvester.core import calendar
from harvester.core.config.settings import Manifest
from harvester.core.errors import ManifestError
from harvester.manifest import loader
from tests.support.machine import slowness

NOW = calendar.instant(calendar.parse_day("2026-06-15"), 12 * 60)

T = TypeVar("T")


def load(folder: Path, text: str) -> Manifest:
    """Write a manifest and load it."""
    (folder / "jobs.yaml").write_text(text)
    return loader.read(folder / "jobs.yaml", environ={}, now=NOW).manifest()


def ten_thousand(row: Callable[[str, int], str]) -> str:
    """Return ten thousand rows, one for each account."""
    return "".join(row(f"wx{number:016x}", number) for number in range(10_000))


def test_ten_thousand_accounts_in_yaml(tmp_path: Path) -> None:
    """Ten thousand accounts with a credential each are read and validated in under two seconds."""
    text = "jobs: [{}]\naccounts:\n" + ten_thousand(
        lambda appid, number: (
            f"""\
  - appid: {appid}
    name: Shop {number}
    tags: [retail, north]
    credential: {{secret: "${{file:secrets/{{appid}}}}"}}
    begin_date: 2020-03-01
"""
        )
    )
    made, seconds = timed(lambda: load(tmp_path, text))
    assert len(made.jobs[0].appids) == 10_000
    assert seconds < 2 * slowness()


@pytest.mark.parametrize("jobs", ["[{}]", "[]"])
def test_the_collector_is_as_before(tmp_path: Path, jobs: str) -> None:
    """It rests meanwhile, because it would walk all objects; mistakes do not leave it off."""
    text = f"jobs: {jobs}\naccounts:\n" + ten_thousand(lambda appid, _: f"  - {{appid: {appid}}}\n")
    before, made = gc.get_threshold(), gc.get_stats()[0]["collections"]
    with suppress(ManifestError):
        load(tmp_path, text)
    assert gc.get_stats()[0]["collections"] < made + 5
    assert gc.get_threshold() == before


def test_ten_thousand_accounts_in_csv(tmp_path: Path) -> None:
    """Ten thousand lines of an accounts file are read and validated in under two seconds."""
    rows = ten_thousand(
        lambda appid, number: f"{appid},Shop {number},retail;north,2020-03-01,,${{S_{{appid}}}},\n"
    )
    head = "appid,name,tags,begin_date,end_date,secret,token\n"
    (tmp_path / "accounts.csv").write_text(head + rows)
    text = "jobs: [{}]\naccounts_file: accounts.csv\n"
    made, seconds = timed(lambda: load(tmp_path, text))
    assert len(made.accounts) == 10_000
    assert seconds < 2 * slowness()


def test_ten_thousand_mistakes(tmp_path: Path) -> None:
    """Of ten thousand unknown names the first hundred are listed, in a fraction of a second."""
    accounts = ten_thousand(lambda appid, _: f"  - {{appid: {appid}}}\n")
    others = ten_thousand(lambda appid, _: f"  - wy{appid[2:]}\n")
    text = f"api: {{base_url: sandbox}}\naccounts:\n{accounts}jobs:\n- accounts:\n{others}"

    def fail() -> ManifestError:
        with pytest.raises(ManifestError) as caught:
            load(tmp_path, text)
        return caught.value

    error, seconds = timed(fail)
    assert len(error.mistakes) == 100
    assert error.advice == "100 mistakes and more; nothing was requested"
    assert seconds < 2 * slowness()


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return a result and the seconds of CPU time that it took."""
    begin = time.process_time()
    result = work()
    return result, time.process_time() - begin
