"""The page of promises: each one has a proof, and each proof exists."""

from __future__ import annotations

import re

import pytest

from tests.sabotage.patches import SABOTAGES
from tests.support.doc_pages import ROOT, section

RELIABILITY = ROOT / "docs/reliability.md"
SECURITY = ROOT / "SECURITY.md"
THEMES = ("## Rows", "## Calls", "## What a run says", "## Foreign input", "## Package")


@pytest.mark.parametrize("theme", THEMES)
def test_every_promise_names_its_proof_and_its_size(theme: str) -> None:
    """A row without a test or a size is a mere claim; the links are checked with all others."""
    rows = re.findall(r"^\| (.*) \|$", section(RELIABILITY, theme), flags=re.MULTILINE)[2:]
    assert rows
    for row in rows:
        promise, holds, proof, size = row.split(" | ")
        assert promise
        assert size
        assert holds in {"always", "eventually", "afterwards"}
        assert "](../tests/" in proof


def test_the_page_counts_the_sabotages() -> None:
    """It is round, so that not each new fault changes it, and not out of date."""
    found = re.search(r"each of over (\d+) one-line faults", RELIABILITY.read_text())
    assert found
    assert int(found[1]) < len(SABOTAGES) <= int(found[1]) + 40


def test_the_threat_model_says_of_each_actor_what_it_cannot_do() -> None:
    """Each row has three cells: the actor, what it can touch, and what it cannot do."""
    header, _, *rows = re.findall(
        r"^\|.*\|$", section(SECURITY, "## Threat model"), flags=re.MULTILINE
    )
    assert header == "| who | what they can touch | what they cannot do |"
    assert len(rows) >= 8
    assert all(all(row.strip("|").split(" | ")) and row.count(" | ") == 2 for row in rows)


def test_vulnerabilities_are_reported_privately_and_to_no_address() -> None:
    """The page names GitHub's own way, and no mailbox that nothing stands behind."""
    text = section(SECURITY, "## Reporting a vulnerability")
    assert "*Report a vulnerability*" in text
    assert not re.search(r"\w@\w", SECURITY.read_text())
