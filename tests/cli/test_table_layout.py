"""Tables and lines at any width: nothing is cut, and numbers, days and codes stay in one piece."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from itertools import pairwise
from operator import itemgetter
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import Color
from rich.style import Style
from rich.text import Text

from harvester.cli.output.styles import STYLES, style_of
from harvester.cli.output.table_layout import Cell, TableColumn, line_lines, table_lines, wrapped
from harvester.cli.output.terminal import Terminal
from harvester.core.text.wording import ENGLISH

WIDTHS = (60, 80, 100, 200)

Row: TypeAlias = Sequence[Cell]

COLUMNS: tuple[TableColumn[Row], ...] = (
    TableColumn("name", itemgetter(0), "text"),
    TableColumn("appid", itemgetter(1), "code"),
    TableColumn("tags", itemgetter(2), "text", rank=2, least=8),
    TableColumn("percent", itemgetter(3)),
    TableColumn("newest day", itemgetter(4), "code"),
    TableColumn("calls", itemgetter(5), rank=1),
)

NAMES = (
    "Acme Service",
    "上海华东旗舰店官方服务号",
    "Blue Mountain Coffee Roasters International",
    "",
)

ROWS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.integers(0, 2**64 - 1).map("wx{:016x}".format),
        st.sampled_from(("", "retail", "retail, 华东, online")),
        st.floats(0, 100).map("{:.1f}".format),
        st.dates().map(str),
        st.integers(0, 10**9).map("{:,}".format),
    ),
    min_size=1,
    max_size=5,
)


def drawn(columns: Sequence[TableColumn[Row]], rows: Sequence[Row], room: int) -> list[str]:
    """Return the lines of a table as plain text."""
    return [line.plain for line in table_lines(columns, rows, room, ENGLISH)]


@settings(max_examples=60)
@given(ROWS, st.sampled_from(WIDTHS))
def test_no_number_is_cut_and_no_line_is_too_long(rows: list[tuple[str, ...]], room: int) -> None:
    """Each number, day and code of a column stands whole, or the column is named below."""
    lines = drawn(COLUMNS, rows, room)
    assert max(map(cell_len, lines)) <= room
    assert "…" not in "\n".join(lines)
    words = {word for line in lines for word in line.split()}
    note = next((line for line in lines if line.startswith("not shown at this width: ")), "")
    left_out = note.partition(": ")[2].split(", ")
    for at, column in enumerate(COLUMNS):
        if column.heading not in left_out and column.kind != "text":
            assert {row[at] for row in rows} <= words


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("room", range(36, 80, 4))
def test_names_are_wrapped_and_lose_nothing(name: str, room: int) -> None:
    """The pieces of a name, one below the other, are the name."""
    appid = "wx0123456789abcdef"
    _, *lines = drawn(COLUMNS[:2], [(name, appid)], room)
    assert appid in lines[0]
    together = "".join(lines).replace(appid, "")
    assert re.sub(r"\s", "", together) == re.sub(r"\s", "", name)


def test_wide_characters_count_two_cells() -> None:
    """The column behind a Chinese name is as far to the right as behind a Latin one."""
    [_, chinese, latin] = drawn(COLUMNS[:2], [("华东旗舰店", "wx1"), ("Acme Store", "wx2")], 80)
    assert cell_len(chinese.partition("wx")[0]) == cell_len(latin.partition("wx")[0]) == 12


def test_the_least_important_columns_are_left_out_first_and_named() -> None:
    """Room for one more column shows the next important one."""
    row = ("Acme", "wx0000000000000001", "retail", "99.9", "2026-11-25", "1,000,000")
    notes = [drawn(COLUMNS, [row], room)[-1] for room in (80, 60, 55)]
    assert notes == [
        "Acme  wx0000000000000001  retail     99.9  2026-11-25  1,000,000",
        "not shown at this width: tags",
        "not shown at this width: tags, calls",
    ]


def test_a_column_that_may_lack_is_shown_for_one_cell_with_something_in_it() -> None:
    """Not for empty ones and zeros, which are shown beside it; numbers have their separators."""
    columns: list[TableColumn[Row]] = [
        TableColumn("appid", itemgetter(0), "code"),
        TableColumn("name", itemgetter(1), "text", may_lack=True),
        TableColumn("days", itemgetter(2), may_lack=True),
    ]
    assert drawn(columns, [("wx1", "", 0), ("wx2", None, 0)], 80) == ["appid", "wx1", "wx2"]
    _, *rows = drawn(columns, [("wx1", "", 1_200), ("wx2", "0", 0)], 80)
    assert rows == ["wx1          1,200", "wx2    0         0"]


def test_a_row_is_a_block_where_not_even_the_important_columns_fit() -> None:
    """The block has every column, also those that a table would leave out."""
    row = ("Acme", "wx0000000000000001", "retail", "99.9", "2026-11-25", "1,000,000")
    assert drawn(COLUMNS, [row], 40) == [
        "Acme",
        "  appid wx0000000000000001  tags retail",
        "  percent 99.9  newest day 2026-11-25",
        "  calls 1,000,000",
    ]


def test_a_line_is_wrapped_between_words_and_goes_on_further_in() -> None:
    """A longer word, such as a path, stays whole, so that it can be copied."""
    line = (
        "  note: files in s3://bucket/a/very/long/path/that/has/no/blank are 1,234 and 华东旗舰店"
    )
    lines = line_lines(line, 40)
    assert lines == [
        "  note: files in",
        "    s3://bucket/a/very/long/path/that/has/no/blank",
        "    are 1,234 and 华东旗舰店",
    ]
    assert line_lines(line, 200) == [line]


@pytest.mark.parametrize("width", range(2, 12))
def test_wide_characters_are_split_anywhere_and_words_only_if_too_long(width: int) -> None:
    """No line is longer than its room."""
    text = "上海华东旗舰店 and a 12345678901234567890 号"
    lines = wrapped(text, width)
    assert max(map(cell_len, lines)) <= width
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(cell_len(one) + 2 > 2 for one, _ in pairwise(lines))


# Styles


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, as WCAG defines it."""
    parts = [part / 255 for part in Color.parse(colour).get_truecolor()]
    linear = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(x * y for x, y in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("background", ["#000000", "#1e1e1e", "#ffffff", "#fdf6e3"])
def test_every_colour_is_readable_on_dark_and_on_light(background: str) -> None:
    """A contrast of 3 is what WCAG asks of what is more than text."""
    for style in STYLES.values():
        colour = Style.parse(style).color
        if colour is not None:
            shades = sorted((luminance(colour.name), luminance(background)))
            assert (shades[1] + 0.05) / (shades[0] + 0.05) >= 3


def test_words_of_outcomes_and_states_have_a_style() -> None:
    """A colour says the same of every word of its meaning."""
    assert style_of("complete") == style_of("works") == style_of("final") == "done"
    assert style_of("quarantined") == style_of("failed") == "failed"
    assert style_of("Acme") == ""


def printed(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """Return what a terminal gets for a refused account."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = Terminal(file=io.StringIO(), force_terminal=True)
    out.print(Text("refused", "refused"))
    return out.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_nothing_is_styled_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in colour nor bold."""
    assert "\x1b[1;" in printed(monkeypatch)
    assert printed(monkeypatch, NO_COLOR="1") == "refused\n"


def test_nothing_is_styled_or_wrapped_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file gets every line whole, unless COLUMNS says how wide it is."""
    Terminal().print(Text("word " * 100, "refused"))
    assert capsys.readouterr().out == "word " * 100 + "\n"
    monkeypatch.setenv("COLUMNS", "60")
    assert Terminal().width == 60
