"""Foreign texts in Markdown: shown exactly, and nothing in them acts, on GitHub's pages too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextvars import Context
from html import unescape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from harvester.cli.output.markdown import MAX_TEXT, table, text
from harvester.core.text.inert_text import inert
from harvester.core.text.redaction import conceal, start_record
from tests.support.hostile_texts import FRIENDLY, HOSTILE

_MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

# What GitHub makes of the text of a page after it is rendered, a node of text at a time.
_ON_GITHUB = re.compile(
    r"(?<![\w/])@\w|\w@\w+\.\w|:[\w+-]+:|(?<!\w)#\d|\b[a-z]+://|\bwww\.|\$\S", re.IGNORECASE
)
_COMMENT = "<!-- -->"
_OWN_HTML = re.compile(rf"{_COMMENT}|<br>|<!-- (end of )?harvester [0-9a-f]{{8}} -->\n*")

TEXTS = st.one_of(
    st.text(max_size=60),
    st.sampled_from([*HOSTILE, *FRIENDLY]),
    st.lists(st.sampled_from(list("|<>&[]()`_*~#@:\\!$^-+=.1ax \n\r\t'\"{}/www")), max_size=30).map(
        "".join
    ),
    st.tuples(st.sampled_from(HOSTILE), st.sampled_from(HOSTILE)).map("".join),
)


def tokens_of(found: list[Token]) -> Iterator[Token]:
    """Yield all tokens at any depth that are no blocks around a text."""
    for token in found:
        yield token
        yield from tokens_of(token.children or [])


def shown(markdown: str, around: set[str]) -> list[str]:
    """Return the nodes of text of a page; anything but ``around`` it is a mistake."""
    nodes = []
    for token in tokens_of(_MARKDOWN.parse(markdown)):
        if token.type in {"html_inline", "html_block"}:
            assert _OWN_HTML.fullmatch(token.content), token
        elif token.type in {"text", "text_special"}:
            nodes.append(token.content)
        else:
            assert token.type in {*around, "inline"}, token
    return nodes


CELL = {
    f"{part}_{end}"
    for part in ("table", "thead", "tbody", "tr", "th", "td")
    for end in ("open", "close")
}
ITEM = {
    f"{part}_{end}"
    for part in ("bullet_list", "list_item", "paragraph")
    for end in ("open", "close")
}


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
    found = shown(lines, CELL)
    assert "".join(found) == f"abcleft{inert(foreign)}right"


@given(TEXTS)
def test_a_line_of_a_list_shows_exactly_the_text(foreign: str) -> None:
    """It begins no list in the list, no heading, no quotation and no block."""
    assert "".join(shown(f"- {text(foreign)}\n- end", ITEM)) == f"{inert(foreign)}end"


@given(TEXTS)
@example("mail x@example.com, @user, #12, :smile:, http://x.test, www.x.test, $x$")
def test_no_text_is_a_link_or_a_mention_on_github(foreign: str) -> None:
    """Neither as written nor in the nodes of the page, of which each is searched by itself."""
    source = text(foreign)
    assert not _ON_GITHUB.search(re.sub(r"&#\d+;", "\0", source)), source
    nodes = [unescape(node) for node in source.split(_COMMENT)]
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
