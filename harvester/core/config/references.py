"""The syntax of ``${NAME}``, ``${NAME:-default}`` and ``${file:path}``.

In credentials ``{appid}`` and ``{name}`` stand for those of the account, inside of a reference and
outside. `harvester.manifest.interpolation` resolves references.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from harvester.core.errors import InvalidValue
from harvester.core.text.inert_text import inert
from harvester.core.text.secret_words import holds_secret

FORMS = "${NAME}, ${NAME:-default} or ${file:path}"
SECRET_FORMS = 'write "${NAME}" or "${file:path}"'

REFERENCE = re.compile(r"\$\{((?:[^{}]|\{[^{}]*\})*)\}")
_ORIGIN = re.compile(rf"(?:https?://)?(?:{REFERENCE.pattern}|[^/?#])*")
FILL = re.compile(r"\{([^{}]*)\}")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILLED_NAME = re.compile(r"(?:[A-Za-z_]|\{appid\}|\{name\})(?:[A-Za-z0-9_]|\{appid\}|\{name\})*")
_FILLS = ("appid", "name")
_MAX_QUOTED = 60
_MAX_QUOTED_NAME = 200


class Resolved(str):
    """Text that came out of a ``${…}``. Messages never repeat it, because it may be a secret."""

    __slots__ = ()


class Variable(NamedTuple):
    """An environment variable. ``default`` replaces an unset or empty value."""

    name: str
    default: str | None


class File(NamedTuple):
    """A file to read. Relative paths are relative to the manifest's directory."""

    path: str


def quote_safe(text: str, longest: int = _MAX_QUOTED) -> str:
    """Return a space and the text in backticks, or an empty text if it could be a secret."""
    if isinstance(text, Resolved) or len(text) > longest or holds_secret(text):
        return ""
    # Inert with the quotes, because a hyphen behind one is no formula of a spreadsheet.
    return f" {inert(f'`{text}`')}"


def quote_safe_name(text: str) -> str:
    """Quote the name of a variable or file as `quote_safe` does; these may be longer."""
    return quote_safe(text, _MAX_QUOTED_NAME)


def parse(body: str, name: re.Pattern[str] = _NAME) -> Variable | File:
    """Parse the text between ``${`` and ``}``. Raises InvalidValue."""
    if body.startswith("file:"):
        if not body[5:].strip():
            raise InvalidValue("refers to a file without a path", "write ${file:path}")
        return File(body[5:])
    variable, separator, default = body.partition(":-")
    if not name.fullmatch(variable):
        raise InvalidValue("holds a `${…}` that is no reference", f"write {FORMS}")
    return Variable(variable, default if separator else None)


def is_reference(text: str) -> bool:
    """Return whether the text holds a reference."""
    return "${" in text


def without_references(text: str) -> str:
    """Replace each reference and each ``{appid}`` or ``{name}`` by a letter, to check the rest."""
    return FILL.sub("x", REFERENCE.sub("x", text))


def origin(url: str) -> str:
    """Return the beginning of an address up to its path, with its references as they are."""
    found = _ORIGIN.match(url)
    return found[0] if found else ""


def check_credential(text: str) -> str:
    """Return a credential's text if it is exactly one reference. Raises InvalidValue."""
    match = REFERENCE.fullmatch(text)
    if match is None:
        raise InvalidValue("must be a reference, never the secret itself", SECRET_FORMS)
    _check_reference(match[1])
    return text


def check_template(text: str) -> list[str]:
    """Return the literal parts of a text that may hold references. Raises InvalidValue."""
    split = REFERENCE.split(text)
    literals, bodies = split[::2], split[1::2]
    for literal in literals:
        if "${" in literal:
            raise InvalidValue("holds a `${` that is no reference", f"write {FORMS}")
        _check_fills(literal)
    for body in bodies:
        _check_reference(body)
    return literals


def _check_reference(body: str) -> None:
    reference = parse(body, _FILLED_NAME)
    if isinstance(reference, Variable) and reference.default is not None:
        what = "must not have a default, which would be the secret itself"
        raise InvalidValue(what, "write ${NAME}")
    _check_fills(body)


def _check_fills(text: str) -> None:
    unknown = [fill for fill in FILL.findall(text) if fill not in _FILLS]
    if unknown:
        what = f"has{quote_safe('{' + unknown[0] + '}')}, which nothing fills in"
        raise InvalidValue(what, "{appid} and {name} are")


def texts_of(value: Any) -> Iterator[str]:
    """Yield every text in a value of the configuration."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | tuple | list):
        for inner in value.values() if isinstance(value, dict) else value:
            if inner is not None:
                yield from texts_of(inner)
    elif dataclasses.is_dataclass(value):
        yield from texts_of(vars(value))
