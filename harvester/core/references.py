"""The syntax of ``${NAME}``, ``${NAME:-default}`` and ``${file:path}``.

Inside of a credential's reference, and in the texts around it, ``{appid}`` and ``{name}`` stand for
the account's. What references lead to is read by `harvester.manifest`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from harvester.core.errors import InvalidValue
from harvester.core.secret_words import holds_secret

FORMS = "${NAME}, ${NAME:-default} or ${file:path}"
SECRET_FORMS = 'write "${NAME}" or "${file:path}"'

REFERENCE = re.compile(r"\$\{((?:[^{}]|\{[^{}]*\})*)\}")
FILL = re.compile(r"\{([^{}]*)\}")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILLED_NAME = re.compile(r"(?:[A-Za-z_]|\{appid\}|\{name\})(?:[A-Za-z0-9_]|\{appid\}|\{name\})*")
_FILLS = ("appid", "name")
_SHOWN = 60
_NAME_SHOWN = 200


class Resolved(str):
    """Text that came out of a ``${…}``. It is never shown, because it may be a secret."""

    __slots__ = ()


class Variable(NamedTuple):
    """An environment variable. ``default`` is what stands for an unset or empty one."""

    name: str
    default: str | None


class File(NamedTuple):
    """A file whose text is meant; a relative path counts from the manifest's directory."""

    path: str


def shown(text: str, longest: int = _SHOWN) -> str:
    """Return the text in backticks after a space, or nothing where it could be a secret."""
    if isinstance(text, Resolved) or len(text) > longest or holds_secret(text):
        return ""
    safe = text if text.isprintable() else text.encode("unicode_escape").decode()
    return f" `{safe}`"


def shown_name(text: str) -> str:
    """Return the same for what names a variable or a file: such names may be longer."""
    return shown(text, _NAME_SHOWN)


def parse(body: str, name: re.Pattern[str] = _NAME) -> Variable | File:
    """Read the inside of a reference. Raises InvalidValue."""
    if body.startswith("file:"):
        if not body[5:].strip():
            raise InvalidValue("refers to a file without a path", "write ${file:path}")
        return File(body[5:])
    variable, separator, default = body.partition(":-")
    if not name.fullmatch(variable):
        raise InvalidValue("holds a `${…}` that is no reference", f"write {FORMS}")
    return Variable(variable, default if separator else None)


def parts(text: str) -> tuple[list[str], list[str]]:
    """Return what stands between the references, and what stands inside of each."""
    split = REFERENCE.split(text)
    return split[::2], split[1::2]


def is_reference(text: str) -> bool:
    """Return whether something in the text is read from outside."""
    return "${" in text


def without_references(text: str) -> str:
    """Return the text with a letter in the place of each reference and ``{appid}``."""
    return FILL.sub("x", REFERENCE.sub("x", text))


def check_credential(text: str) -> str:
    """Return a credential's text if it is one reference and nothing else. Raises InvalidValue."""
    match = REFERENCE.fullmatch(text)
    if match is None:
        raise InvalidValue("must be a reference, never the secret itself", SECRET_FORMS)
    _check_reference(match[1])
    return text


def check_template(text: str) -> list[str]:
    """Return the literal parts of a text that may hold references. Raises InvalidValue."""
    literals, bodies = parts(text)
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
        what = f"has{shown('{' + unknown[0] + '}')}, which nothing fills in"
        raise InvalidValue(what, "{appid} and {name} are")
