"""Foreign texts in which nothing acts, and ordinary ones that stay as they are."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.text.inert_text import inert, inert_json, inert_line
from tests.support.hostile_texts import FRIENDLY, HOSTILE, acts, acts_in_json

each_hostile = pytest.mark.parametrize("text", HOSTILE)

SPECIAL = st.text(st.sampled_from("::##[]()<>!*_~|`=+-@,;\"' \n\t\x1b\u202e\u200dabc1中🙂"))


def test_there_are_a_hundred_texts_of_each_kind() -> None:
    """The attack and its opposite are of a size that means something."""
    assert len(HOSTILE) >= 100
    assert len(FRIENDLY) >= 100
    assert all(acts(f"  {text}") or acts(text) or "|" in text for text in HOSTILE)


@each_hostile
def test_nothing_acts_in_a_line(text: str) -> None:
    """Wherever a hostile text stands in a line."""
    for line in ("{}", "  {}", "x: {}", "error: {}: y", "`{}`", "({})"):
        assert acts(inert_line(line.format(inert(text)))) == []


@each_hostile
def test_no_command_begins_where_a_terminal_wraps(text: str) -> None:
    """Cut anywhere, no piece of a line begins like a command of a runner."""
    shown = inert_line(inert(text)).replace("::ffff:1.2.3.4", "")
    for width in range(1, 40):
        pieces = [shown[at : at + width] for at in range(0, len(shown), width)]
        assert not any(piece.lstrip().startswith("::") for piece in pieces)


@each_hostile
def test_json_keeps_every_text_and_none_acts(text: str) -> None:
    """As a value and as a key, beside numbers that are no formulas."""
    value = {text: [text, -5, 1.5, {"x": text}]}
    for indent in (None, 2):
        document = inert_json(json.dumps(value, ensure_ascii=False, indent=indent))
        assert json.loads(document) == value
        assert acts_in_json(document) == []


@pytest.mark.parametrize("text", FRIENDLY)
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    """Names in any script, emoji, paths with blanks, numbers and WeChat's own messages."""
    assert inert(text) == text
    assert inert_line(f"error: {text}: what") == f"error: {text}: what"
    document = json.dumps({"name": text}, ensure_ascii=False)
    assert inert_json(document) == document


@given(SPECIAL | st.text())
def test_twice_is_once(text: str) -> None:
    """A text that was made inert stays as it is."""
    once, line = inert(text), inert_line(text)
    assert inert(once) == once
    assert inert_line(line) == line
    assert inert_line(once) == once


@given(SPECIAL | st.text())
def test_no_text_makes_a_command_or_a_tag(text: str) -> None:
    """Whatever the characters are, alone and in front of each other."""
    shown = inert_line(f"x: {inert(text)}{inert(text)}")
    assert "\n" not in shown
    assert "##[" not in shown
    assert "](" not in shown
    assert "<!" not in shown
    assert "::" not in shown.replace("::ffff:1.2.3.4", "")


def test_frames_of_tracebacks_stay_readable() -> None:
    """Python's names of code without one are no tags; in a foreign text they might be."""
    assert inert_line("File x, in <module>") == "File x, in <module>"
    assert inert_line("<module onclick=x>") == "\\x3cmodule onclick=x>"
    assert inert("<module>") == "\\x3cmodule>"


def test_what_escapes_needs_is_loaded_before_files_run_out() -> None:
    """A line that says so has characters to escape."""
    program = (
        "import resource; from harvester.core.text.inert_text import inert;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); print(inert('a\\u202eb'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("a\\u202eb\n", "")
