"""Tables and lines that fit the terminal: no number, day or code is ever cut or wrapped.

If a table is too wide, its texts are wrapped, then its least important columns are left out and
named below it, and at last each row is a block of its own. Wide characters count two cells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from gettext import NullTranslations
from itertools import zip_longest
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from rich.cells import cell_len, chop_cells
from rich.text import Text

from harvester.core.text.inert_text import inert
from harvester.core.text.wording import render, said


class Own(NamedTuple):
    """Harvester's own text for a cell, which stands as it is, with the name of a style."""

    text: str
    style: str = ""


Cell: TypeAlias = str | int | Own | None
"""The content of a cell. A text that is foreign is made inert."""

Row = TypeVar("Row")

_GAP = "  "
_LONGEST_WORD = 30
"""Cells of a word that a column is made wide enough for; a longer one is folded."""

_WIDE = (
    r"\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uffe6"
    r"\U0001f300-\U0001faff\U00020000-\U0003fffd"
)
_CLOSING = r"\u3001\u3002\uff09\uff0c\uff1a\uff1b\u201d"
_NARROW_WORDS = r"\S+\s*"
_WIDE_WORDS = rf"[（“]*(?:[^\s{_WIDE}]+|(?!\s)[{_WIDE}])[{_CLOSING}]*\s*"
"""Pattern of words, of which one wide character is one: Chinese has no blanks between words. A mark
stays at its word."""


@dataclass(frozen=True, slots=True)
class TableColumn(Generic[Row]):
    """A column of a table, with the function that returns its cell of a row.

    ``kind`` is ``"text"``, wrapped where the table is too wide, down to ``least`` cells;
    ``"number"``, at the right; or ``"code"``, at the left. The columns with the highest ``rank``
    are left out first, and those with 0 never. A column with ``may_lack`` is left out if all its
    cells are empty or 0.
    """

    heading: str
    cell: Callable[[Row], Cell]
    kind: Literal["number", "code", "text"] = "number"
    rank: int = 0
    least: int = 16
    may_lack: bool = False


def table_lines(
    columns: Iterable[TableColumn[Row]], rows: Sequence[Row], room: int, words: NullTranslations
) -> Iterator[Text]:
    """Yield the lines of a table of at most ``room`` cells; the first column names its rows."""
    columns = [each for each in columns if not each.may_lack or any(map(each.cell, rows))]
    columns = [replace(each, heading=words.gettext(each.heading)) for each in columns]
    body = [[_shown(column.cell(row), words) for column in columns] for row in rows]
    head = [Text(column.heading, "heading") for column in columns]
    natural = [max(cell.cell_len for cell in column) for column in zip(head, *body, strict=True)]
    widths, kept = natural, list(range(len(columns)))
    if _sum(natural, kept) > room:
        widths = list(map(_least, columns, zip(head, *body, strict=True), natural))
        # Left out only once the texts are as narrow as their longest words.
        for at in sorted(kept, key=lambda at: columns[at].rank, reverse=True):
            if columns[at].rank and _sum(widths, kept) > room:
                kept.remove(at)
    if _sum(widths, kept) > room:
        for row in body:
            yield from _block(columns, row, room)
        return
    _widen(widths, natural, kept, room)
    shown = [(columns[at], widths[at], at) for at in kept]
    for row in (head, *body):
        yield from _lines(shown, row)
    if left_out := [column.heading for at, column in enumerate(columns) if at not in kept]:
        note = said("not shown at this width: {columns}", columns=left_out)
        yield from map(Text, line_lines(render(note, words), room))


def line_lines(line: str, room: int) -> list[str]:
    """Wrap a line between words; it goes on two cells further in. A longer word stays whole."""
    if cell_len(line) <= room:
        return [line]
    margin = " " * (len(line) - len(line.lstrip()))
    first, *others = wrapped(line.lstrip(), room - len(margin) - len(_GAP), fold=False)
    return [margin + first, *(f"{margin}{_GAP}{other}" for other in others)]


def wrapped(text: str, width: int, *, fold: bool = True) -> list[str]:
    """Split a text into lines of at most ``width`` cells, between words and wide characters.

    A longer word is folded, or else stays whole.
    """
    lines = [""]
    for word in _words(text):
        bare = word.rstrip()
        if lines[-1] and cell_len(lines[-1]) + cell_len(bare) > width:
            lines.append("")
        # An emoji of several characters can be wider than a narrow column, and is then kept whole.
        *whole, rest = (chop_cells(bare, width) if fold else []) or [bare]
        for part in whole:
            lines[-1] += part
            lines.append("")
        lines[-1] += rest + word[len(bare) :]
    return [line.rstrip() for line in lines]


def _words(text: str) -> list[str]:
    """Return the words of a text, each with the blanks behind it."""
    # Compiled by the library when it is needed: the wide one takes longer than the tables of a run.
    return re.findall(_NARROW_WORDS if text.isascii() else _WIDE_WORDS, text)


def _shown(cell: Cell, words: NullTranslations) -> Text:
    if isinstance(cell, Own):
        return Text(render(cell.text, words), cell.style)
    return Text(f"{cell:,}" if isinstance(cell, int) else inert(render(cell or "", words)))


def _sum(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[at] for at in kept) + len(_GAP) * (len(kept) - 1)


def _least(column: TableColumn[Any], cells: Sequence[Text], natural: int) -> int:
    """Return the cells that a column needs at least."""
    if column.kind != "text":
        return natural
    words = {word.rstrip() for cell in cells for word in _words(cell.plain)}
    longest = min(_LONGEST_WORD, max(map(cell_len, words), default=0))
    return min(natural, max(column.least, longest))


def _widen(widths: list[int], natural: Sequence[int], kept: Sequence[int], room: int) -> None:
    """Give the texts what is left of the line, the first ones first."""
    spare = room - _sum(widths, kept)
    for at in kept:
        more = min(spare, natural[at] - widths[at])
        widths[at] += more
        spare -= more


def _lines(
    shown: Sequence[tuple[TableColumn[Any], int, int]], row: Sequence[Text]
) -> Iterator[Text]:
    """Yield the lines of a row."""
    parts = [
        [row[at].plain] if row[at].cell_len <= width else wrapped(row[at].plain, width)
        for _, width, at in shown
    ]
    for line in zip_longest(*parts, fillvalue=""):
        found = Text()
        for (column, width, at), part in zip(shown, line, strict=True):
            margin = " " * (width - cell_len(part))
            before, behind = (margin, "") if column.kind == "number" else ("", margin)
            found = found + before + Text(part, row[at].style) + (behind + _GAP)
        found.rstrip()
        yield found


def _block(columns: Sequence[TableColumn[Any]], row: Sequence[Text], room: int) -> Iterator[Text]:
    """Yield a row as its first cell that is not empty, and below it the others with headings."""
    cells = [(column, cell) for column, cell in zip(columns, row, strict=True) if cell.plain]
    for _, first in cells[:1]:
        yield from (Text(line, first.style) for line in wrapped(first.plain, room))
    line = Text()
    for column, cell in cells[1:]:
        pair = Text.assemble(f"{_GAP}{column.heading} ", (cell.plain, cell.style))
        if line and line.cell_len + pair.cell_len > room:
            yield line
            line = Text()
        if pair.cell_len > room:
            yield from map(Text, line_lines(pair.plain, room))
        else:
            line.append_text(pair)
    if line:
        yield line
