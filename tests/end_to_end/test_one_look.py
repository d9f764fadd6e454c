"""A command looks at an object store once, however many months the output has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.core.config.settings import Output
from harvester.core.exit_codes import Exit
from harvester.storage.layout import open_tree
from tests.support.run_harness import appid
from tests.support.store_backends import requests_to

DATASETS = ("interface_summary", "user_summary", "user_cumulate")
MAX_REQUESTS = 40
"""Requests of a run without news, the tables beside the datasets and its record included."""

MAX_TO_READ = 30
"""Requests of a command that reads alone."""

MAX_A_FILE = 4
"""Further requests for each data file that a run writes."""

LONG_AGO = {"3 months": "2026-03-01", "28 months": "2024-02-01"}


def manifest(place: Output, begin: str, end: str) -> dict[str, Any]:
    """Return a manifest of two accounts."""
    return {
        "version": 1,
        "api": {"base_url": "sandbox"},
        "accounts": [{"appid": appid(number)} for number in (1, 2)],
        "jobs": [{"datasets": [*DATASETS], "begin_date": begin, "end_date": end}],
        "limits": {"per_token": {"rate": "1000/s", "burst": 100, "concurrency": 8}},
        "output": {"path": place.path, "endpoint": place.endpoint},
    }


def run(place: Output, begin: str, end: str = "2026-05-31") -> list[str]:
    """Make one run; return its requests to the store."""
    before = len(requests_to(place))
    result = harvester.run(manifest(place, begin, end))
    assert result.exit_code == Exit.DONE, result
    return requests_to(place)[before:]


@pytest.mark.parametrize("begin", LONG_AGO.values(), ids=LONG_AGO)
def test_a_run_without_news(s3_output: Output, begin: str) -> None:
    """One listing, an index for each dataset, and what a lease, a record and the views take."""
    run(s3_output, begin)
    found = run(s3_output, begin)
    assert len(found) <= MAX_REQUESTS
    assert not [each for each in found if each.split("/")[0] in {f"GET {x}" for x in DATASETS}]


def test_a_run_with_one_new_day(s3_output: Output) -> None:
    """It writes a file for each dataset, and does not read again what it wrote."""
    run(s3_output, "2024-02-01", "2026-05-29")
    found = run(s3_output, "2024-02-01", "2026-05-30")
    written = [each for each in found if each.startswith("PUT") and "/part-" in each]
    assert {each.split("/")[0] for each in written} >= {f"PUT {name}" for name in DATASETS}
    assert len(found) <= MAX_REQUESTS + MAX_A_FILE * len(written)


def test_commands_that_read_alone(
    s3_output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`plan` and `status` make one listing, and read the indexes and a few records."""
    monkeypatch.chdir(tmp_path)
    run(s3_output, "2024-02-01")
    asked = manifest(s3_output, "2024-02-01", "2026-05-31")
    for read in (harvester.plan, harvester.status):
        before = len(requests_to(s3_output))
        read(asked)
        assert len(requests_to(s3_output)) - before <= MAX_TO_READ


def test_an_index_that_was_lost_costs_one_scan(s3_output: Output) -> None:
    """The next run reads the footers, and the one after it reads none."""
    run(s3_output, "2026-03-01")
    tree = open_tree(s3_output)
    for file in tree.store.list("_harvester/index"):
        tree.store.delete(file.name)
    assert len([x for x in run(s3_output, "2026-03-01") if "/part-" in x and "GET" in x]) >= 9
    assert len(run(s3_output, "2026-03-01")) <= MAX_REQUESTS
