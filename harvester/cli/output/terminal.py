"""Lines and tables for people, in one language, as wide as the terminal if there is one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import environ
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from harvester.catalogue.languages import Language, translations
from harvester.cli.output.streams import PlainConsole
from harvester.cli.output.table_layout import Row, TableColumn, line_lines, table_lines
from harvester.core.text.inert_text import inert_line
from harvester.core.text.wording import indented, render, said

MAX_LINES = 12
"""Lines of a list that are printed as text."""

_NARROWEST = 20
"""The least cells of a line, whatever a terminal says of itself."""

_UNBOUNDED = 10_000
"""Cells of a line without a terminal: each line is whole, to be searched and cut by others."""


class Terminal(PlainConsole):
    """The console of stdout for answers, or of stderr for all else. No text on it acts.

    It is as wide as the terminal, or as the variable COLUMNS says. Otherwise no line is wrapped.
    """

    def __init__(self, language: Language = "en", **how: Any) -> None:
        self.words = translations(language)
        super().__init__(highlight=False, **how)
        if not (self.file.isatty() or environ.get("COLUMNS", "").isdigit()):
            self.width, self.soft_wrap = _UNBOUNDED, True

    def say(self, line: str, *, gap: bool = False, style: str = "", whole: bool = False) -> None:
        """Print a line, after an empty one if there is to be a gap.

        It is wrapped between words on a terminal, unless it is to be copied ``whole``, as a command
        is. Elsewhere no line is wrapped, to be found by its words.
        """
        text = inert_line(render(line, self.words))
        if not (whole or self.soft_wrap):
            text = "\n".join(line_lines(text, self._room))
        if gap:
            self.print()
        self.print(Text(text, style), soft_wrap=True)

    def say_list(self, title: str, lines: Sequence[str], indent: int = 2) -> None:
        """Print a list, if it has lines: its title, the first ones, and how many more there are."""
        if title and lines:
            self.say(title, gap=True)
        for line in lines[:MAX_LINES]:
            self.say(indented(line, indent))
        self.say_more(len(lines) - MAX_LINES, indent)

    def say_more(self, count: int, indent: int = 0) -> None:
        """Print how many things are left out, if there are any."""
        if count > 0:
            line = said("and {count:,} more (--format json lists all)", count=count)
            self.say(indented(line, indent))

    def say_pairs(self, pairs: Mapping[str, str]) -> None:
        """Print a line for each label with its text, the texts below one another."""
        shown = {render(label, self.words): text for label, text in pairs.items()}
        width = max(map(cell_len, shown)) + 2
        for label, text in shown.items():
            self.say(f"  {set_cell_size(label, width)}{render(text, self.words)}")

    def say_table(self, columns: Iterable[TableColumn[Row]], rows: Sequence[Row]) -> None:
        """Print a table; the first column names its rows."""
        # As one text, because rich takes longer for a line than for its characters.
        lines = table_lines(columns, rows, self._room, self.words)
        self.print(Text("\n").join(lines), soft_wrap=True)

    @property
    def _room(self) -> int:
        return max(_NARROWEST, self.width)
