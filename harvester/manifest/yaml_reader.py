"""A YAML reader that returns plain values and their positions.

It supports the part of YAML that a manifest needs: mappings, lists and scalars of one document.
YAML guesses types (``0123456`` is 42798, ``1:30`` is 90, ``no`` is false). Here all scalars stay
text. Unquoted text that another YAML reader might read as something else becomes `AmbiguousScalar`,
which text fields refuse; fields of numbers and truth values read it.

It reads the parser's events instead of its node tree, because aliases and duplicate keys are
refused in the same pass that makes the values. For 10,000 accounts, with libyaml and the garbage
collector off, the events take 0.08 s, `parse` 0.18 s, and the node tree alone 0.16 s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from harvester.core.config.field_types import AmbiguousScalar
from harvester.core.errors import Mistake, Place
from harvester.manifest.diagnostics import Invalid, LoadContext, Section, Steps

MAX_DEPTH = 20
"""Maximum nesting of lists and mappings."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str, context: LoadContext) -> Section:
    """Return the document. Raises ManifestError for a mistake that prevents further reading."""
    try:
        return _Reader(text, context).document()
    except yaml.MarkedYAMLError as error:
        syntax = error
    # Raised outside of the handler, because the parser's message may repeat a line with secrets.
    raise context.fatal(*_syntax_mistake(text, Place(context.file, 1, 1), syntax))


class _Reader:
    """Reader of the parser's events, which continues after most mistakes.

    ``marks`` has for each part by its path where its key and its value begin. An item of a list has
    no key, so its value stands for both.
    """

    __slots__ = ("context", "events", "marks")

    def __init__(self, text: str, context: LoadContext) -> None:
        self.events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self.context = context
        self.marks: dict[Steps, tuple[yaml.Mark, yaml.Mark]] = {}

    def find(self, loc: Steps, key: bool) -> Place | None:  # noqa: FBT001 - as `Find` has it
        """Return the place of a part, or of its key; None for a missing part."""
        marks = self.marks.get(loc)
        return marks and self.place(marks[0] if key else marks[1])

    def document(self) -> Section:
        """Return the only document of the text. Raises ManifestError if it is empty."""
        next(self.events)
        value = None
        if isinstance(next(self.events), yaml.DocumentStartEvent):
            value = self.value(next(self.events), ())
        if value is None:
            start = Place(self.context.file, 1, 1)
            raise self.context.fatal(start, "the manifest is empty", "`harvester init` prints one")
        next(self.events)
        after = next(self.events)
        if isinstance(after, yaml.DocumentStartEvent):
            self.refuse(after, "a second document begins here", "a manifest is one document")
        return Section(value, self.find, self.context)

    def value(self, event: Any, loc: Steps, key: Any = None) -> Any:
        """Return the value that begins with an event. ``key`` is the event of its key."""
        self.marks[loc] = (key or event).start_mark, event.start_mark
        if isinstance(event, yaml.AliasEvent):
            self.refuse(event, "aliases (`*`) are not supported", "write the value out")
            return Invalid()
        self.refuse_properties(event)
        if isinstance(event, yaml.ScalarEvent):
            value = event.value if event.style else parse_scalar(event.value)
            if value is None and loc:
                self.refuse(key or event, "this has no value", "give it one or leave it out")
                return Invalid()
            return value
        if len(loc) >= MAX_DEPTH:
            # Not read on, because what is nested without end would end the interpreter's stack.
            what = f"nested deeper than {MAX_DEPTH} levels"
            place = self.place(event.start_mark)
            raise self.context.fatal(place, what, "no key of a manifest is")
        return (
            self.sequence(loc) if isinstance(event, yaml.SequenceStartEvent) else self.mapping(loc)
        )

    def sequence(self, loc: Steps) -> list[Any]:
        """Return a list, reading up to its end."""
        values: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            values.append(self.value(event, (*loc, len(values))))
        return values

    def mapping(self, loc: Steps) -> dict[str, Any]:
        """Return a mapping, reading up to its end. Of a duplicate key the first value is kept."""
        values: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                place, hint = self.place(event.start_mark), "quote a value that begins with { or ["
                raise self.context.fatal(place, "a key must be a word", hint)
            self.refuse_properties(event)
            key = str(event.value)
            if key not in values:
                values[key] = self.value(next(self.events), (*loc, key), event)
                continue
            first = self.marks[*loc, key][0].line + 1
            self.refuse(event, "this key comes twice", f"first on line {first}")
            # Read past the value, at a path that no part of a mapping has.
            self.value(next(self.events), (*loc, 0))
        return values

    def refuse_properties(self, event: Any) -> None:
        """Report the anchor and the tag of a value or a key."""
        if event.anchor is not None:
            self.refuse(event, "anchors (`&`) are not supported", "leave it out")
        if event.tag is not None:
            self.refuse(event, "tags (`!`) are not supported", "quote text, leave the tag out")

    def refuse(self, event: Any, what: str, hint: str) -> None:
        """Report a mistake at the beginning of an event."""
        self.context.refuse(self.place(event.start_mark), what, hint)

    def place(self, mark: yaml.Mark) -> Place:
        """Return the place of a mark, which counts from zero."""
        return Place(self.context.file, mark.line + 1, mark.column + 1)


_NOTHING = frozenset(("", "~", "null", "Null", "NULL"))
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")
_GUESSES: dict[str, list[tuple[str, re.Pattern[str]]]] = yaml.SafeLoader.yaml_implicit_resolvers
_SUSPECT = frozenset((*_GUESSES, ""))


def parse_scalar(text: str) -> str | None:
    """Return an unquoted scalar as None, text or `AmbiguousScalar`."""
    # Most scalars are text, so their first character decides.
    if text[:1] not in _SUSPECT:
        return text
    if text in _NOTHING:
        return None
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
    ("<document start>", "nothing may follow the end of the document", "remove it"),
    ("key", "this does not fit the lines above it", "check indentation and quotes"),
    ("'-' indicator", "this does not fit the lines above it", "check indentation and quotes"),
    ("<block end>", "this does not fit the lines above it", "check indentation and quotes"),
    ("tab character", "a tab where YAML wants spaces", "indent with spaces"),
)


def _syntax_mistake(text: str, start: Place, error: yaml.MarkedYAMLError) -> Mistake:
    """Return a syntax error without the parser's message, which may repeat a line with secrets."""
    problem, mark, context = error.problem or "", error.problem_mark, error.context_mark
    unknown = ("not valid YAML", "look at this line and the one above")
    what, hint = next((words for part, *words in _SYNTAX if part in problem), unknown)
    if "end of stream" in problem and context is not None:
        mark, what, hint = context, "a quote that is never closed", "close it"
    elif "escape" in problem and context is not None:  # libyaml and PyYAML differ in the column
        mark = context
    elif "expected ':'" in problem and context is not None:
        mark, what, hint = context, "a key without its `:`", "write key: value"
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    around = line[max(mark.column - 1, 0) : mark.column + 1] if mark else ""
    if around.endswith("\t"):
        what, hint = "a tab where YAML wants spaces", "indent with spaces"
    elif around == "${":
        what, hint = "a `${…}` inside { } or [ ] must be quoted", 'write "${…}"'
    place = Place(start.file, mark.line + 1, mark.column + 1) if mark else start
    return Mistake(place, what, hint)
