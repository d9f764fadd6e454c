"""YAML text to plain values, each with its place.

Only what a manifest needs: mappings, lists and scalars of one document. YAML guesses types from
looks (``0123456`` is 42798, ``1:30`` is 90, ``no`` is false): here text stays as written, a plain
whole number, ``true`` or ``false`` is one, and whatever another reader might take for something
else comes out as `Unquoted`, which is refused where plain text is wanted.

The parser's events are read instead of its node tree, because aliases and duplicate keys are
refused in the same pass that makes the values. For 10,000 accounts, with libyaml and the collector
off, the events take 0.08 s, `parse` 0.17 s, the node tree 0.16 s before anything is read from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import yaml

from harvester.core.errors import Place
from harvester.core.field_types import AmbiguousScalar
from harvester.manifest.diagnostics import INVALID, Diagnostics, Step

DEEPEST = 20
"""How deep lists and mappings may nest."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Mark(Protocol):
    """A place as the parser counts, from zero."""

    line: int
    column: int


class NodePositions(NamedTuple):
    """Where a list or mapping stands, and its keys and items. A scalar has a bare mark instead."""

    mark: Mark
    keys: dict[str, Mark]
    items: dict[Step, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: plain values, and where each of them stands."""

    file: Path
    value: Any
    spot: Any

    def where(self, loc: Sequence[Step] = (), /, *, key: bool = False) -> Place:
        """The place of a part, or of its key; what is not there is where it is missing from."""
        spot = self.spot
        mark = _mark(spot)
        for step in loc:
            if not isinstance(spot, NodePositions) or step not in spot.items:
                break
            key_mark = spot.keys.get(str(step), mark)
            spot = spot.items[step]
            mark = key_mark if key else _mark(spot)
        return Place(self.file, mark.line + 1, mark.column + 1)


def _mark(spot: Any) -> Mark:
    mark: Mark = spot.mark if isinstance(spot, NodePositions) else spot
    return mark


def parse(text: str, file: Path, mistakes: Diagnostics) -> Document | None:
    """The document, or None after a mistake that ends all reading."""
    reader = _Reader(text, file, mistakes)
    flaw = None
    try:
        return reader.document()
    except _End:
        return None
    except yaml.MarkedYAMLError as error:
        flaw = (error.problem or "", error.problem_mark, error.context_mark)
    _explain(text, Place(file, 1, 1), flaw, mistakes)
    return None


class _End(Exception):
    """Reading on makes no sense; the mistake is on the list."""


class _Reader:
    """Turns the parser's events into values. One mistake does not hide the next."""

    __slots__ = ("events", "file", "mistakes")

    def __init__(self, text: str, file: Path, mistakes: Diagnostics) -> None:
        self.events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self.file = file
        self.mistakes = mistakes

    def document(self) -> Document | None:
        """The one document of the text."""
        next(self.events)
        if not isinstance(next(self.events), yaml.DocumentStartEvent):
            self.mistakes.add(Place(self.file, 1, 1), "the manifest is empty")
            return None
        value, spot = self.value(next(self.events), 1)
        if value is None:
            self.mistakes.add(Place(self.file, 1, 1), "the manifest is empty")
            return None
        next(self.events)
        after = next(self.events)
        if isinstance(after, yaml.DocumentStartEvent):
            self.refuse(after, "a second document begins here", "a manifest is one document")
        return Document(self.file, value, spot)

    def value(self, event: Any, depth: int) -> tuple[Any, Any]:
        """The value an event begins, and its spot."""
        if isinstance(event, yaml.AliasEvent):
            self.refuse(event, "aliases (`*`) are not supported", "write the value out")
            return INVALID, event.start_mark
        if event.anchor is not None:
            self.refuse(event, "anchors (`&`) are not supported", "leave it out")
        if event.tag is not None:
            self.refuse(event, "tags (`!`) are not supported", "quote text, leave the tag out")
            event.tag = event.anchor = None
            self.value(event, depth)
            return INVALID, event.start_mark
        if isinstance(event, yaml.ScalarEvent):
            plain = event.style is None or event.style == ""
            return parse_scalar(event.value) if plain else event.value, event.start_mark
        if depth > DEEPEST:
            self.refuse(event, f"nested deeper than {DEEPEST} levels")
            raise _End
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(event, depth)
        return self.mapping(event, depth)

    def sequence(self, start: Any, depth: int) -> tuple[list[Any], NodePositions]:
        """A list up to its end."""
        values: list[Any] = []
        spots: dict[Step, Any] = {}
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            value, spots[len(values)] = self.value(event, depth + 1)
            if value is None:
                self.refuse(event, "this list item has no value")
                value = INVALID
            values.append(value)
        return values, NodePositions(start.start_mark, {}, spots)

    def mapping(self, start: Any, depth: int) -> tuple[dict[str, Any], NodePositions]:
        """A mapping up to its end. Of a key that comes twice the first value stays."""
        values: dict[str, Any] = {}
        keys: dict[str, Mark] = {}
        spots: dict[Step, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event, depth)
            value, spot = self.value(next(self.events), depth + 1)
            if key is None:
                continue
            if key in values:
                first = keys[key].line + 1
                self.refuse(event, "this key comes twice", f"first on line {first}")
                continue
            if value is None:
                self.refuse(event, "this key has no value", "give it one or leave the key out")
                value = INVALID
            values[key], keys[key], spots[key] = value, event.start_mark, spot
        return values, NodePositions(start.start_mark, keys, spots)

    def key(self, event: Any, depth: int) -> str | None:
        """The text of a key, or None if it is none."""
        if not isinstance(event, yaml.ScalarEvent):
            self.refuse(event, "a key must be a word", "quote a value that begins with { or [")
            told = len(self.mistakes.found)
            self.value(event, depth + 1)
            del self.mistakes.found[told:]
            return None
        if event.anchor is not None or event.tag is not None:
            self.refuse(event, "a key must be a word", "leave the anchor or tag out")
            return None
        if event.value == "<<" and not event.style:
            self.refuse(event, "merge keys (`<<`) are not supported", "write the keys out")
            return None
        return str(event.value)

    def refuse(self, event: Any, what: str, hint: str = "") -> None:
        """Put a mistake at the beginning of an event."""
        mark = event.start_mark
        self.mistakes.add(Place(self.file, mark.line + 1, mark.column + 1), what, hint)


_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,14}")
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NOTHING = frozenset(("", "~", "null", "Null", "NULL"))
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")
_GUESSES: dict[str, list[tuple[str, re.Pattern[str]]]] = yaml.SafeLoader.yaml_implicit_resolvers
_SUSPECT = frozenset((*_GUESSES, ""))


def parse_scalar(text: str) -> Any:
    """What an unquoted scalar is: None, a truth value, a whole number, text or `Unquoted` text."""
    if text[:1] not in _SUSPECT:
        return text
    if text in _NOTHING:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    guesses = _GUESSES.get(text[0], ())
    if _NUMBER.fullmatch(text) or any(pattern.match(text) for _, pattern in guesses):
        return AmbiguousScalar(text)
    return text


_SYNTAX = (
    ("cannot start any token", "a value cannot begin with this character", "quote it"),
    ("mapping values are not allowed", "a second `: ` in one value", "quote it or break the line"),
    ("entries are not allowed", "a list item cannot begin here", "begin a new line"),
    ("',' or '}'", "a `,` or `}` is missing here", "quote values that hold { } [ ] or ,"),
    ("',' or ']'", "a `,` or `]` is missing here", "quote values that hold { } [ ] or ,"),
    (
        "escape",
        "an unknown escape in these double quotes",
        "use single quotes, or write the character itself",
    ),
    ("<document start>", "nothing may follow the end of the document", ""),
    ("key", "this does not fit the lines above it", "check indentation and quotes"),
    ("'-' indicator", "this does not fit the lines above it", "check indentation and quotes"),
    ("<block end>", "this does not fit the lines above it", "check indentation and quotes"),
    ("tab character", "a tab where YAML wants spaces", "indent with spaces"),
)


def _explain(text: str, start: Place, flaw: Any, mistakes: Diagnostics) -> None:
    """Say a syntax error in our words: the parser's own may repeat the line, secrets and all."""
    problem, mark, context = flaw
    what, hint = "not valid YAML", "look at this line and the one above"
    for part, ours, advice in _SYNTAX:
        if part in problem:
            what, hint = ours, advice
            break
    if "end of stream" in problem and context is not None:
        mark, what, hint = context, "a quote that is never closed", ""
    elif "escape" in problem and context is not None:  # the parsers differ about the column
        mark = context
    elif "expected ':'" in problem and context is not None:
        mark, what, hint = context, "a key without its `:`", ""
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    around = line[max(mark.column - 1, 0) : mark.column + 1] if mark else ""
    if around.endswith("\t"):
        what, hint = "a tab where YAML wants spaces", "indent with spaces"
    elif around == "${":
        what, hint = "a `${…}` inside { } or [ ] must be quoted", 'write "${…}"'
    place = Place(start.file, mark.line + 1, mark.column + 1) if mark else start
    mistakes.add(place, what, hint)
