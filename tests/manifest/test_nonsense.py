"""Manifests of nonsense: the first hundred mistakes, soon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harvester.core.errors import MAX_MISTAKES, ManifestError
from harvester.manifest.loader import read
from tests.support.machine import slowness

COUNT = 20_000
ACCOUNT = "accounts: [{appid: wx0000000000000001}]\n"
NONSENSE = {
    "keys": "".join(f"key{number}: x\n" for number in range(COUNT)),
    "accounts": "accounts:\n" + "".join(f"- {{no{number}: x}}\n" for number in range(COUNT)),
    "anchors": "accounts:\n" + "- &a x\n" * COUNT,
    "no values": "accounts:\n" + "-\n" * COUNT,
    "datasets": f"{ACCOUNT}jobs:\n- datasets: [{', '.join(f'd{n}' for n in range(COUNT))}]\n",
    "jobs": f"{ACCOUNT}jobs:\n" + "".join(f"- {{datasets: [d{n}]}}\n" for n in range(COUNT)),
    "names": f"{ACCOUNT}jobs:\n- accounts: [{', '.join(f'wy{n}' for n in range(COUNT))}]\n",
    "references": "accounts:\n" + "".join(f'- appid: "${{N{n}}}"\n' for n in range(COUNT)),
    "settings": "datasets:\n" + "".join(f"  d{number}: {{span: 0}}\n" for number in range(COUNT)),
    "tags": f"accounts:\n- appid: wx0000000000000001\n  tags: [{'[], ' * COUNT}x]\n",
}


@pytest.mark.parametrize("text", NONSENSE.values(), ids=NONSENSE)
def test_reading_ends_with_the_mistakes_that_are_listed(tmp_path: Path, text: str) -> None:
    """Whatever the kind of mistake, no time is spent on those that are not listed."""
    manifest = tmp_path / "jobs.yaml"
    manifest.write_text(text)
    begin = time.process_time()
    with pytest.raises(ManifestError) as caught:
        read(manifest, environ={}, now=1.79e9).manifest()
    seconds = time.process_time() - begin
    assert 1 <= len(caught.value.mistakes) <= MAX_MISTAKES
    assert len(caught.value.lines) == len(caught.value.mistakes)
    assert seconds < 5 * slowness()


def test_a_hundred_mistakes_are_all(tmp_path: Path) -> None:
    """A hundred are counted exactly, one more is only said to be there."""
    manifest = tmp_path / "jobs.yaml"
    head = "api: {base_url: sandbox}\naccounts: [{appid: wx0000000000000001}]\njobs: [{}]\n"
    for count, told in ((100, "100 mistakes; "), (101, "100 mistakes and more; ")):
        manifest.write_text(head + "".join(f"key{number}: x\n" for number in range(count)))
        with pytest.raises(ManifestError) as caught:
            read(manifest, environ={}, now=1.79e9).manifest()
        assert caught.value.advice == f"{told}nothing was requested"
        assert len(caught.value.mistakes) == 100


def test_the_mistakes_of_a_csv_are_limited_too(tmp_path: Path) -> None:
    """Rows of an accounts file count like any other mistake."""
    rows = "".join(f"no{number},x\n" for number in range(COUNT))
    (tmp_path / "a.csv").write_text(f"appid,name\n{rows}")
    manifest = tmp_path / "jobs.yaml"
    manifest.write_text("accounts_file: a.csv\njobs: [{datasets: [interface_summary]}]\n")
    with pytest.raises(ManifestError) as caught:
        read(manifest, environ={}, now=1.79e9).manifest()
    assert len(caught.value.mistakes) == MAX_MISTAKES
