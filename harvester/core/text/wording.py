"""Texts for people that can be said in another language.

A `Message` is its text in English, and keeps the template and the values that it was made of. JSON,
logs and the Python API have the English. What prints for a person says it in a language, which the
standard library's ``gettext`` looks up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from gettext import NullTranslations
from typing import Any

ENGLISH = NullTranslations()
"""The language of the code: every text is its own translation."""


class Message(str):
    """A text in English with its origin.

    ``lookup`` is a method of gettext with its arguments, and ``values`` are by name.
    """

    __slots__ = ("lookup", "values")

    lookup: tuple[Any, ...]
    values: Mapping[str, object]


def said(template: str, /, **values: object) -> Message:
    """Return a whole template with its values, each a message, a list of texts, or anything else.

    Without values the template is a text with nothing to fill in, or is a message already.
    """
    return template if isinstance(template, Message) else _message(values, "gettext", template)


def counted(count: int, noun: str) -> Message:
    """Return a number of things as text: ``1 account``, ``1,200 accounts``."""
    one = f"{{count:,}} {noun}"
    return _message({"count": count}, "ngettext", one, f"{one}s", count)


def share_text(share: float) -> str:
    """Return a share in percent, rounded down, because 100% means all."""
    # A binary fraction may lie just below the decimal one.
    return f"{math.floor(round(1000 * share, 6)) / 10:g}%"


def sentences(meaning: str, advice: str) -> Message:
    """Return what is wrong, and what to do about it."""
    return said("{meaning}. {advice}", meaning=meaning, advice=advice)


def entry(name: str, text: str | list[Message]) -> Message:
    """Return what a text is about, and the text."""
    return said("{name}: {text}", name=name, text=text)


def indented(text: str, cells: int = 2) -> Message:
    """Return a text behind blanks."""
    return said(" " * cells + "{text}", text=text)


def and_more(items: Sequence[str], count: int) -> Message:
    """Return the first of ``count`` items, and how many more there are."""
    if (more := count - len(items)) > 0:
        return said("{items} and {count:,} more", items=[*items], count=more)
    return said("{items}", items=[*items])


def one_or_many(items: Sequence[str], noun: str) -> str:
    """Return the only item, or the number of all."""
    return items[0] if len(items) == 1 else counted(len(items), noun)


def word(kind: str, name: str) -> Message:
    """Return a word that programs compare, such as a reason or a state: in English as it is."""
    return _message({}, "pgettext", kind, name)


def render(text: str, words: NullTranslations) -> str:
    """Return a text in a language; one that is no message stays as it is."""
    return _filled(text.values, words, *text.lookup) if isinstance(text, Message) else text


def _message(values: Mapping[str, object], *lookup: Any) -> Message:
    found = Message(_filled(values, ENGLISH, *lookup))
    found.lookup, found.values = lookup, values
    return found


def _filled(values: Mapping[str, object], words: NullTranslations, method: str, *given: Any) -> str:
    template: str = getattr(words, method)(*given)
    if not values:
        return template
    return template.format(**{name: _said(value, words) for name, value in values.items()})


def _said(value: object, words: NullTranslations) -> object:
    if isinstance(value, list):
        return words.gettext(", ").join(render(each, words) for each in value)
    return render(value, words) if isinstance(value, str) else value
