"""Files that would grow too large are told of before, with the number of buckets that fits."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from harvester.catalogue import CATALOGUE
from harvester.cli import invoke
from harvester.core.calendar import day_range, parse_day
from harvester.core.exit_codes import Exit
from harvester.core.model import bucket_of
from harvester.planning import bucket_sizing
from tests.support.run_harness import DAILY, HOURLY, RunHarness, appid

MARCH = day_range(parse_day("2026-02-10"), parse_day("2026-03-31"))


def of(tmp_path: Path, accounts: int, buckets: int, dataset: str = HOURLY) -> list[str]:
    """Return the advice about so many accounts."""
    manifest = RunHarness(tmp_path, accounts=1, buckets=buckets).manifest()
    want = {dataset: {appid(number): MARCH for number in range(accounts)}}
    return list(bucket_sizing.warnings(manifest, want))


def test_two_million_rows_are_enough(tmp_path: Path) -> None:
    """2,688 accounts × 31 days × 24 hours are just within; one more is not."""
    assert of(tmp_path, 2_688, 1) == []
    [line] = of(tmp_path, 2_689, 1)
    assert line.startswith("interface_summary_hour: a month may come to 2.0 million rows a file")
    assert "output.buckets: 2 fits" in line


@pytest.mark.parametrize("accounts", [5_000, 5_375, 10_000])
def test_the_buckets_it_names_do_fit(tmp_path: Path, accounts: int) -> None:
    """Accounts are spread by a hash, so a bucket more than the division says may be needed."""
    [line] = of(tmp_path, accounts, 1)
    buckets = int(line.partition("output.buckets: ")[2].split()[0])
    assert of(tmp_path, accounts, buckets) == []
    fuller = [bucket_of(appid(number), buckets - 1) for number in range(accounts)]
    most = max(len(list(group)) for _, group in itertools.groupby(sorted(fuller)))
    assert most * 31 * 24 > bucket_sizing.MAX_ROWS


def test_a_few_days_count_as_a_whole_month(tmp_path: Path) -> None:
    """A job of the last days comes again on each day, and its file grows to a month."""
    manifest = RunHarness(tmp_path, accounts=1).manifest()
    short = day_range(parse_day("2026-03-08"), parse_day("2026-03-10"))
    for accounts, lines in ((2_688, 0), (2_689, 1)):
        want = {HOURLY: {appid(number): short for number in range(accounts)}}
        assert len(list(bucket_sizing.warnings(manifest, want))) == lines


def test_days_take_less_room_than_hours(tmp_path: Path) -> None:
    """One row per day lets one file hold ten thousand accounts."""
    assert of(tmp_path, 10_000, 1, DAILY) == []
    assert bucket_sizing.rows_a_day(CATALOGUE[HOURLY]) == 24
    assert bucket_sizing.rows_a_day(CATALOGUE["upstream_msg_hour"]) > 24
    assert bucket_sizing.rows_a_day(CATALOGUE[DAILY]) == 1


MANIFEST = """
version: 1
api: {base_url: sandbox}
accounts_file: accounts.csv
jobs: [{datasets: [interface_summary_hour], begin_date: 2026-03-01, end_date: 2026-03-31}]
output: output
"""


@pytest.mark.parametrize("verb", ["plan", "status"])
def test_plan_and_status_say_it(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a note, and among the warnings of the JSON."""
    monkeypatch.chdir(tmp_path)
    Path("jobs.yaml").write_text(MANIFEST)
    Path("accounts.csv").write_text("\n".join(["appid", *map(appid, range(3_000))]))
    assert invoke([verb]) == Exit.DONE
    assert "note: interface_summary_hour: a month may come to" in capsys.readouterr().out
    assert invoke([verb, "--format", "json"]) == Exit.DONE
    assert "output.buckets: 2" in json.loads(capsys.readouterr().out)["warnings"][-1]


def test_status_names_foreign_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Engines read what lies in a dataset's folder, whosoever it is."""
    monkeypatch.chdir(tmp_path)
    Path("jobs.yaml").write_text(MANIFEST)
    Path("accounts.csv").write_text(f"appid\n{appid(1)}\n")
    Path("output/interface_summary_hour").mkdir(parents=True)
    Path("output/interface_summary_hour/copy.parquet").touch()
    assert invoke(["status"]) == Exit.DONE
    assert "not harvester's: interface_summary_hour/copy.parquet" in capsys.readouterr().out
