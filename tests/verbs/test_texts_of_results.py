"""Public results: short texts for people, tables for notebooks, and the JSON of the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.testing import sandbox
from harvester.verbs.forget import forget
from harvester.verbs.rewrite import rewrite
from harvester.verbs.verify import verify


def results(manifest: dict[str, Any], folder: Path) -> list[Any]:
    """Return one public result of each kind."""
    account = manifest["accounts"][0]["appid"]
    return [
        harvester.run(manifest),
        harvester.plan(manifest),
        harvester.check(manifest),
        harvester.status(manifest),
        harvester.fetch(manifest, account, "interface_summary", "-2d"),
        harvester.read_manifest(manifest),
        verify(manifest),
        rewrite(manifest, to=folder / "new"),
        forget(manifest, accounts=account, before="2020-01-01", dry_run=True),
    ]


def test_results_have_short_texts_and_tables(manifest: dict[str, Any], tmp_path: Path) -> None:
    """Of any number of accounts; what is foreign in a table does not act."""
    manifest["accounts"][0]["name"] = "<script>"
    for found in results(manifest, tmp_path):
        assert len(repr(found)) < 600, type(found)
        if hasattr(found, "_repr_html_"):
            assert found._repr_html_().startswith("<table>")
            assert "<script>" not in found._repr_html_()


def test_a_value_of_many_members_is_no_collection(manifest: dict[str, Any]) -> None:
    """Its members are shown, and no length, whatever kind of class it is."""
    assert "next_requests=NextRequests(missing=" in repr(harvester.status(manifest))


def test_to_dict_is_plain_json(manifest: dict[str, Any], tmp_path: Path) -> None:
    """It needs no encoder of its own."""
    for found in results(manifest, tmp_path):
        if not isinstance(found, harvester.Manifest):
            assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


def test_an_event_and_an_error_are_plain_json_too(manifest: dict[str, Any], tmp_path: Path) -> None:
    """The error of a run has its record, as `--summary` writes it."""
    with sandbox(faults={"wx0000000000000002": 48001}) as wechat:
        events: list[harvester.Event] = []
        manifest = wechat.manifest(output=str(tmp_path))
        result = harvester.run(manifest, on_event=events.append)
    assert harvester.Problem in map(type, events)
    for event in events:
        assert json.loads(json.dumps(event.to_dict())) == event.to_dict()
    with pytest.raises(harvester.PartialFailure) as ended:
        result.raise_for_outcome()
    told = ended.value.to_dict()
    assert json.loads(json.dumps(told)) == told
    assert (told["error"], told["exit_code"]) == ("PartialFailure", 3)
    assert told["result"] == result.to_dict()
    with pytest.raises(harvester.UsageError) as refused:
        harvester.plan(manifest, datasets="user_sumary")
    told = refused.value.to_dict()
    assert (told["error"], told["exit_code"], told["result"]) == ("UsageError", 2, None)
    assert told["message"] == refused.value.problem
    assert told["advice"] == refused.value.advice


def test_the_library_prints_nothing(manifest: dict[str, Any], tmp_path: Path) -> None:
    """Not even a warning of its logger, where the program has set up no logging."""
    program = "import harvester, logging; logging.getLogger('harvester.run').warning('said')"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.mark.filterwarnings("error")
def test_an_output_may_begin_later(manifest: dict[str, Any]) -> None:
    """A follower is started before the first run."""
    feed = harvester.open(manifest["output"], must_exist=False)
    changes, cursor = feed.changes()
    assert (changes, feed.datasets) == ([], ())
    harvester.run(manifest)
    assert feed.changes(cursor)[0]
