r"""Foreign texts made inert: nothing in them acts on a terminal, a CI runner, a page or a sheet.

A foreign text is one that harvester did not write: the message of a refusal, the name of a member,
an account or a file, a path, a line of a command's error output. It passes `inert` where it is put
into a line, and each printed line passes `inert_line`, so that two harmless parts make no harmful
whole. A character that would act is written as its escape, ``\x1b`` or ``\u202e``, and all others
stay as they are. Applying a function twice changes nothing more.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_LATER_CHARACTERS = "\U0001f000", "\U0003ffff"
"""Emoji and ideographs. Unassigned ones are those of a Unicode newer than this Python."""

_JOINERS = "\u200c\u200d"
"""They join emoji, and letters of some scripts, and do nothing else between two such characters."""

# Each pattern matches one character of a class first, because such a search is fast; the look
# behind it and ahead of it decides whether the character acts.

# A runner takes a line for its command that begins with `::` after blanks. A line may begin
# anywhere, because terminals wrap, so no `::` is left, except in the address of WeChat's 40164
# behind another word, which names no command. `##[` and `##vso[` count in any place.
_ADDRESS = r"(?<=\S :):ffff:\d{1,3}(?:\.\d{1,3}){3}\b"
_COMMANDS = rf"(?<=:)(?=:)(?!{_ADDRESS})|(?<=\#)(?=\#\w*\[)"
# The beginning of a tag, a comment or an address in angle brackets; the end of a link's text.
_TAGS = r"(?<=<)(?=[A-Za-z/!?])"
_LINKS = r"(?<=\])(?=[(\[])"
# Python's names of code without one, in tracebacks.
_FRAMES = r"(?:module|lambda|locals|genexpr|\w+comp|string|stdin|frozen [\w.]+)>"
# A formula at the beginning of a cell, behind a separator.
_FORMULAS = r"(?<=[,;|][=+@-])(?=\S)|(?<=[,;|]\"[=+@-])"

_IN_LINE = re.compile(rf"[:#<\]=+@-](?:{_COMMANDS}|(?!{_FRAMES}){_TAGS}|{_LINKS}|{_FORMULAS})")
# Also what Markdown strikes out, and the definition of a link.
_IN_TEXT = re.compile(
    rf"[:#<\]=+@~-](?:{_COMMANDS}|{_TAGS}|{_LINKS}|{_FORMULAS}|(?<=~)(?=~)|(?<=\])(?=:\s*\S))"
)
_EMPHASIS = re.compile(
    r"(\*+)(\w(?:[^*]*\w)?)(\*+)"
    r"|((?<!\w)_+)([^\W_](?:[^_]*[^\W_])?)(_+)(?!\w)"
)
# At the beginning of a text also a heading, a list, a quotation, a fence, a table or a formula. The
# three stars of a masked secret stay: they are a rule in Markdown only as a line of their own.
_OPENING = re.compile(r"\s*\"?(?!\*{3}(?:\s|$))(?:[=+@#>|-]|\*(?=\s|\*)|```|~~~)")
_NUMBER = re.compile(r"\s*[+-]?[\d.,]+%?\s*")

# In JSON none of these stands outside of a text, except the sign of a number.
_SIGNS = r"(?<=[,;|\"][=@])|(?<=[,;|\"][+-])(?![\d.,]+%?[\"\s\]}])"
_IN_JSON = re.compile(rf"[:#<\]=+@-](?:{_COMMANDS}|{_TAGS}|{_LINKS}|{_SIGNS})")

# Most texts are words with single separators between them, and nothing in these acts.
_PLAIN = re.compile(r"[^\W_]++(?:(?:[ ./()'_-]|[,:] )[^\W_]++)*+")

# Python loads this codec at its first use, which may be where no more files can be opened.
"".encode("unicode_escape")


def inert_line(line: str) -> str:
    """Return a line, foreign parts included, that is one line and in which nothing acts."""
    return _IN_LINE.sub(_as_escape, _without_invisible(line, _as_text_escape))


def inert(text: str) -> str:
    """Return a foreign text as a part of a line.

    A text that begins like Markdown's blocks or like a formula gets a ``'`` in front, as in a
    spreadsheet; a number does not.
    """
    if _PLAIN.fullmatch(text):
        return text
    text = _IN_TEXT.sub(_as_escape, _without_invisible(text, _as_text_escape))
    text = _EMPHASIS.sub(_without_emphasis, text)
    if _OPENING.match(text) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def named(appid: str, name: str) -> str:
    """Return an account as text: its appid, and the name beside it if there is one."""
    return f"{appid} {inert(name)}" if name else appid


def inert_json(document: str) -> str:
    r"""Return a JSON document that reads the same, with ``\u`` escapes for what would act.

    The document may have several lines.
    """
    lines = (_without_invisible(line, _as_json_escape) for line in document.split("\n"))
    return _IN_JSON.sub(lambda match: _as_json_escape(match[0]), "\n".join(lines))


def _as_escape(match: re.Match[str]) -> str:
    return _escaped(match[0])


def _escaped(text: str) -> str:
    return "".join(f"\\x{ord(character):02x}" for character in text)


def _without_emphasis(match: re.Match[str]) -> str:
    """Escape both ends, because either may pair with a character of another text."""
    begin, words, end = (part for part in match.groups() if part is not None)
    return _escaped(begin) + words + _escaped(end)


def _as_text_escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _as_json_escape(character: str) -> str:
    """Write a character as JSON does, in two halves beyond the first 65,536."""
    units = character.encode("utf-16-be", errors="surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _without_invisible(text: str, escape: Callable[[str], str]) -> str:
    """Escape control, direction and other invisible characters, line breaks among them."""
    if text.isprintable():
        return text
    return "".join(
        character if _is_visible(text, at) else escape(character)
        for at, character in enumerate(text)
    )


def _is_visible(text: str, at: int) -> bool:
    character = text[at]
    if character.isprintable():
        return True
    if character in _JOINERS:
        # At either end the slice is shorter, and joins nothing.
        around = text[max(at - 1, 0)] + text[at + 1 : at + 2]
        return len(around) == 2 and around.isprintable() and not re.search("[\0-\x7f]", around)
    first, last = _LATER_CHARACTERS
    kind = unicodedata.category(character)
    return kind == "Zs" or (kind == "Cn" and first <= character <= last)
