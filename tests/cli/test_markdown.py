"""Foreign texts in Markdown: shown exactly, and nothing in them acts, on GitHub's pages too."""

from __future__ import annotations

import re
from contextvars import Context
from html import unescape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harvester.cli.output.markdown import MAX_TEXT, table, text
from harvester.core.text.inert_text import inert
from harvester.core.text.redaction import conceal, start_record
from tests.support.hostile_texts import FRIENDLY, HOSTILE
from tests.support.markdown_pages import COMMENT, LIST, TABLE, texts_shown

# What GitHub makes of the text of a page after it is rendered, a node of text at a time.
_ON_GITHUB = re.compile(
    r"(?<![\w/])@\w|\w@\w+\.\w|:[\w+-]+:|(?<!\w)#\d|\b[a-z]+://|\bwww\.|\$\S", re.IGNORECASE
)

TEXTS = st.one_of(
    st.text(max_size=60),
    st.sampled_from([*HOSTILE, *FRIENDLY]),
    st.lists(st.sampled_from(list("|<>&[]()`_*~#@:\\!$^-+=.1ax \n\r\t'\"{}/www")), max_size=30).map(
        "".join
    ),
    st.tuples(st.sampled_from(HOSTILE), st.sampled_from(HOSTILE)).map("".join),
)


@given(TEXTS)
@example("evil`" * 3)
@example("x\\|y")
@example("\\")
@example("a|b")
@example(" ")
@example("1. x")
def test_a_cell_shows_exactly_the_text(foreign: str) -> None:
    """In a row of three cells: no element more, and the cells beside it are as they were."""
    lines = "\n".join(table(("a", "b", "c"), [("left", text(foreign), "right")]))
    found = texts_shown(lines, TABLE)
    assert "".join(found) == f"abcleft{inert(foreign)}right"


@given(TEXTS)
def test_a_line_of_a_list_shows_exactly_the_text(foreign: str) -> None:
    """It begins no list in the list, no heading, no quotation and no block."""
    assert "".join(texts_shown(f"- {text(foreign)}\n- end", LIST)) == f"{inert(foreign)}end"


@given(TEXTS)
@example("mail x@example.com, @user, #12, :smile:, http://x.test, www.x.test, $x$")
def test_no_text_is_a_link_or_a_mention_on_github(foreign: str) -> None:
    """Neither as written nor in the nodes of the page, of which each is searched by itself."""
    source = text(foreign)
    assert not _ON_GITHUB.search(re.sub(r"&#\d+;", "\0", source)), source
    nodes = [unescape(node) for node in source.split(COMMENT)]
    assert not [node for node in nodes if re.search(r"(?<!\w)@\w|:[\w+-]+:|(?<!\w)#\d", node)]


def test_a_long_text_is_cut() -> None:
    """By characters, before any of them is escaped."""
    assert text(f"x{'|' * 2_000}").count("&#124;") == MAX_TEXT - 2
    assert text("x" * 200, 100) == f"{'x' * 99}…"


@pytest.mark.parametrize(
    "name", ["interface_summary", "wx0000000000000001", "北京旗舰店", "2026-05"]
)
def test_ordinary_names_stay_readable_in_the_source(name: str) -> None:
    """Because a termination message is read as it is written."""
    assert text(f"of {name}") == f"of {name}"


def test_a_secret_is_masked() -> None:
    """Before the text is cut, because a part of a secret is not recognised."""

    def masked_text() -> str:
        start_record()
        conceal("0123456789abcdefghijklmnopqrstuvwxyz")
        return text("x 0123456789abcdefghijklmnopqrstuvwxyz", 12)

    assert Context().run(masked_text) == text("x ***")
