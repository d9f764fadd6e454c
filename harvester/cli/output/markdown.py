"""Markdown in which no foreign text acts: as markup, HTML, a link, a mention or an emoji."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from gettext import NullTranslations

from harvester.core.text.inert_text import inert
from harvester.core.text.redaction import masked
from harvester.core.text.wording import ENGLISH, render

MAX_TEXT = 1_000
"""Maximum characters of a text; a longer one is cut."""

# What is markup anywhere, or at the beginning of a line, or in the eyes of GitHub: an address, a
# mention, an issue, an emoji, a formula. Blanks at either end would be dropped. Inside of a word
# `_` is none, as in the name of a dataset.
_ACTING = re.compile(
    r"[&<>()\[\]|*~`\\!^{}$]|(?<![^\W_])_|_(?![^\W_])|[:@#](?=\S|$)|^[\d\s#=+-]|\s$|(?<=[Ww]{3})\."
)


def text(foreign: str, longest: int = MAX_TEXT) -> str:
    """Return a text as Markdown that shows exactly its masked and inert form, in one line."""
    shown = inert(masked(foreign))
    return _ACTING.sub(_entity, shown if len(shown) <= longest else f"{shown[: longest - 1]}…")


def table(
    names: Sequence[str], rows: Iterable[Iterable[str]], words: NullTranslations = ENGLISH
) -> list[str]:
    """Return the lines of a table in a language, and an empty one."""
    say = partial(render, words=words)
    every = (map(words.gettext, names), ["---"] * len(names), *rows)
    return [f"| {' | '.join(map(say, cells))} |" for cells in every] + [""]


def first_lines(whole: bytes, most: int) -> bytes:
    """Return the first lines of a text that take at most so many bytes."""
    return whole if len(whole) <= most else whole[: whole.rfind(b"\n", 0, most) + 1]


def _entity(match: re.Match[str]) -> str:
    """Return an entity. Where characters act together, an empty comment keeps them apart."""
    return f"&#{ord(match[0])};" + "<!-- -->" * (match[0] in ":@#$")
