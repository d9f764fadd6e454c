"""The syntax of ``${NAME}``, ``${NAME:-default}`` and ``${file:path}``.

In credentials ``{appid}`` and ``{name}`` stand for those of the account, inside of a reference and
outside. `harvester.manifest.interpolation` resolves references.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from harvester.core.errors import InvalidValue
from harvester.core.text.inert_text import inert
from harvester.core.text.secret_words import holds_secret

FORMS = "${NAME}, ${NAME:-default} or ${file:path}"
SECRET_FORMS = 'write "${NAME}" or "${file:path}"'

_REFERENCE = re.compile(r"\$\{((?:[^{}]|\{[^{}]*\})*)\}")
_ORIGIN = re.compile(rf"(?:https?://)?(?:{_REFERENCE.pattern}|[^/?#])*")
_FILL = re.compile(r"\{([^{}]*)\}")

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""Names of variables outside of credentials."""

_FILLED_NAME = re.compile(r"(?:[A-Za-z_]|\{appid\}|\{name\})(?:[A-Za-z0-9_]|\{appid\}|\{name\})*")
_FILLS = ("appid", "name")
_MAX_QUOTED = 60
_MAX_QUOTED_NAME = 200


class Resolved(str):
    """Text that came out of a ``${…}``. Messages never repeat it, because it may be a secret."""

    __slots__ = ()


class Reference(NamedTuple):
    """A reference to an environment variable, or to a file.

    ``name`` is that of the variable, or the path of the file, relative to the manifest's directory.
    ``default`` replaces an unset or empty variable.
    """

    name: str
    default: str | None = None
    is_file: bool = False


def quote_safe(text: str, longest: int = _MAX_QUOTED) -> str:
    """Return a space and the text in backticks, or an empty text if it could be a secret."""
    if isinstance(text, Resolved) or len(text) > longest or holds_secret(text):
        return ""
    # Inert with the quotes, because a hyphen behind one is no formula of a spreadsheet.
    return f" {inert(f'`{text}`')}"


def quote_safe_name(text: str) -> str:
    """Quote the name of a variable or file as `quote_safe` does; these may be longer."""
    return quote_safe(text, _MAX_QUOTED_NAME)


def split(text: str, name: re.Pattern[str] = _FILLED_NAME) -> list[str | Reference]:
    """Return the literals and references of a text in turn; a literal is first and last.

    Raises InvalidValue. ``name`` matches the names that variables may have.
    """
    parts = _REFERENCE.split(text)
    if any(map(is_reference, parts[::2])):
        raise InvalidValue("holds a `${` that is no reference", f"write {FORMS}")
    return [_parsed(part, name) if index % 2 else part for index, part in enumerate(parts)]


def references_in(text: str) -> list[Reference]:
    """Return the references of a text. Raises InvalidValue."""
    return [part for part in split(text) if isinstance(part, Reference)]


def _parsed(body: str, name: re.Pattern[str]) -> Reference:
    """Parse the text between ``${`` and ``}``."""
    if body.startswith("file:"):
        if not body[5:].strip():
            raise InvalidValue("refers to a file without a path", "write ${file:path}")
        return Reference(body[5:], is_file=True)
    variable, separator, default = body.partition(":-")
    if not name.fullmatch(variable):
        raise InvalidValue("holds a `${…}` that is no reference", f"write {FORMS}")
    return Reference(variable, default if separator else None)


def is_reference(text: str) -> bool:
    """Return whether the text holds a reference."""
    return "${" in text


def without_references(text: str) -> str:
    """Replace each reference and each ``{appid}`` or ``{name}`` by a letter, to check the rest."""
    return _FILL.sub("x", _REFERENCE.sub("x", text))


def filled(text: str, fills: Mapping[str, str]) -> str:
    """Return a text with ``{appid}`` and ``{name}`` replaced, as far as ``fills`` has them."""
    return _FILL.sub(lambda match: fills.get(match[1], match[0]), text)


def origin(url: str) -> str:
    """Return the beginning of an address up to its path, with its references as they are."""
    found = _ORIGIN.match(url)
    return found[0] if found else ""


def check_credential(text: str) -> str:
    """Return a credential's text if it is exactly one reference. Raises InvalidValue."""
    if not _REFERENCE.fullmatch(text):
        raise InvalidValue("must be a reference, never the secret itself", SECRET_FORMS)
    check_template(text)
    return text


def check_template(text: str) -> list[str]:
    """Return the literal parts of a text that may hold references. Raises InvalidValue."""
    parts = split(text)
    if any(isinstance(part, Reference) and part.default is not None for part in parts):
        what = "must not have a default, which would be the secret itself"
        raise InvalidValue(what, "write ${NAME}")
    for fill in _FILL.findall(_REFERENCE.sub(r"\1", text)):
        if fill not in _FILLS:
            what = f"has{quote_safe('{' + fill + '}')}, which nothing fills in"
            raise InvalidValue(what, "{appid} and {name} are")
    return [part for part in parts if isinstance(part, str)]


def texts_of(value: Any) -> Iterator[str]:
    """Yield every text in a value of the configuration."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | tuple | list | frozenset):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts_of(inner)
    elif dataclasses.is_dataclass(value):
        yield from texts_of(vars(value))
