"""``${NAME}``, ``${NAME:-default}`` and ``${file:path}``: what a manifest reads from outside.

Everywhere but in credentials and the platform they are resolved when the manifest is loaded. A
credential's reference is only read then; `harvester.manifest.opening` follows it when a verb is
about to talk to WeChat.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harvester.core.secret import Secret
from harvester.manifest.mistakes import Reading, Resolved, Unfit, Where, named, shown, shown_name
from harvester.manifest.source import Unreadable, read_text
from harvester.manifest.yaml_tree import BROKEN

FORMS = "${NAME}, ${NAME:-default} or ${file:path}"
SECRET_FORMS = 'write "${NAME}" or "${file:path}"'

_LARGEST_FILE = 64 * 1024
_REFERENCE = re.compile(r"\$\{((?:[^{}]|\{[^{}]*\})*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILLED_NAME = re.compile(r"(?:[A-Za-z_]|\{appid\}|\{name\})(?:[A-Za-z0-9_]|\{appid\}|\{name\})*")
_FILL = re.compile(r"\{([^{}]*)\}")
_FILLS = ("appid", "name")
_LATER = frozenset({"secret", "verify_ticket", "component_token", "command"})


class Variable(NamedTuple):
    """An environment variable. ``default`` is what stands for an unset or empty one."""

    name: str
    default: str | None


class File(NamedTuple):
    """A file whose text is meant; a relative path counts from the manifest's directory."""

    path: str


def resolve_all(value: Any, where: Where, reading: Reading) -> None:
    """Put the text behind every reference in place, in the value itself, but for secrets."""

    def walk(node: Any, loc: tuple[str | int, ...]) -> None:
        for step, child in node.items() if isinstance(node, dict) else enumerate(node):
            if step == "credential" or (loc[:1] == ("platform",) and step in _LATER):
                continue
            if isinstance(child, dict | list):
                walk(child, (*loc, step))
            elif isinstance(child, str) and "${" in child:
                reading.followed[child] = None
                try:
                    node[step] = resolve(child, reading.environ, reading.folder)
                except Unfit as flaw:
                    name = next(part for part in (step, *reversed(loc)) if isinstance(part, str))
                    reading.mistakes.at(
                        where((*loc, step)), f"{named(name)} {flaw.what}", flaw.hint
                    )
                    node[step] = BROKEN

    if isinstance(value, dict | list):
        walk(value, ())


def resolve(text: str, environ: Mapping[str, str], folder: Path) -> Resolved:
    """The text with every reference replaced. Raises Unfit, naming the variable or file."""
    rest = _REFERENCE.sub("", text)
    if "${" in rest:
        raise Unfit("holds a `${` that is no reference", f"write {FORMS}")
    return Resolved(_REFERENCE.sub(lambda match: _read(_parse(match[1]), environ, folder), text))


def _parse(body: str, name: re.Pattern[str] = _NAME) -> Variable | File:
    if body.startswith("file:"):
        if not body[5:].strip():
            raise Unfit("refers to a file without a path", "write ${file:path}")
        return File(body[5:])
    variable, separator, default = body.partition(":-")
    if not name.fullmatch(variable):
        raise Unfit("holds a `${…}` that is no reference", f"write {FORMS}")
    return Variable(variable, default if separator else None)


def _read(reference: Variable | File, environ: Mapping[str, str], folder: Path) -> str:
    """What a reference stands for, without line breaks at its end."""
    if isinstance(reference, File):
        return _read_file(reference.path, folder)
    value = environ.get(reference.name, "").rstrip("\r\n")
    if value:
        return value
    if reference.default is not None:
        return reference.default
    state = "empty" if reference.name in environ else "not set"
    raise Unfit(
        f"refers to the variable{shown_name(reference.name)}, which is {state}",
        "set it, or write ${NAME:-default}",
    )


def _read_file(path: str, folder: Path) -> str:
    if "{" in path:
        raise Unfit("refers to a file by {appid} or {name}, which only a credential can")
    try:
        text = read_text(folder / path, largest=_LARGEST_FILE).rstrip("\r\n")
    except Unreadable as flaw:
        raise Unfit(f"refers to the file{shown_name(path)}, which {flaw.what}") from None
    if not text:
        raise Unfit(f"refers to the file{shown_name(path)}, which is empty")
    return text


def check_credential(text: str) -> str:
    """Let a credential's text pass if it is one reference and nothing else. Raises Unfit."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise Unfit("must be a reference, never the secret itself", SECRET_FORMS)
    _check_reference(match[1])
    return text


def check_template(text: str) -> list[str]:
    """The literal parts of a text whose references and ``{appid}`` are filled in. Raises Unfit."""
    literals, bodies = _parts(text)
    for literal in literals:
        if "${" in literal:
            raise Unfit("holds a `${` that is no reference", f"write {FORMS}")
        _check_fills(literal)
    for body in bodies:
        _check_reference(body)
    return literals


def is_reference(text: str) -> bool:
    """Whether something in the text is read from outside."""
    return "${" in text


def without_references(text: str) -> str:
    """The text with a letter in the place of each reference and ``{appid}``."""
    return _FILL.sub("x", _REFERENCE.sub("x", text))


def _parts(text: str) -> tuple[list[str], list[str]]:
    """What stands between the references, and what stands inside of each."""
    parts = _REFERENCE.split(text)
    return parts[::2], parts[1::2]


def _check_reference(body: str) -> None:
    reference = _parse(body, _FILLED_NAME)
    if isinstance(reference, Variable) and reference.default is not None:
        raise Unfit("must not have a default, which would be the secret itself", "write ${NAME}")
    _check_fills(body)


def _check_fills(text: str) -> None:
    unknown = [fill for fill in _FILL.findall(text) if fill not in _FILLS]
    if unknown:
        raise Unfit(
            f"has{shown('{' + unknown[0] + '}')}, which nothing fills in", "{appid} and {name} are"
        )


class Filling(NamedTuple):
    """What a reference is followed with: whose it is, where relative paths begin, the variables."""

    appid: str
    name: str
    folder: Path
    environ: Mapping[str, str]

    def secret(self, text: str) -> Secret:
        """The one word that a credential's reference leads to. Raises Unfit."""
        check_credential(text)
        value = self._follow(text[2:-1])
        if not value.isprintable() or " " in value:
            raise Unfit("refers to more than one word")
        return Secret(value)

    def text(self, text: str, quote: Callable[[str], str] = str) -> str:
        """A text with everything filled in; ``quote`` is for what fills the literal parts."""
        check_template(text)
        literals, bodies = _parts(text)
        written = [self.words(literal, quote) for literal in literals]
        values = [*map(self._follow, bodies), ""]
        return "".join(part for pair in zip(written, values, strict=True) for part in pair)

    def words(self, text: str, quote: Callable[[str], str] = str) -> str:
        """A text without references, ``{appid}`` and ``{name}`` filled in. Raises Unfit."""
        if "{name}" in text and not self.name:
            raise Unfit("needs {name}, but the account has no name")
        fills = {"appid": self.appid, "name": self.name}
        return _FILL.sub(lambda match: quote(fills[match[1]]), text)

    def _follow(self, body: str) -> str:
        """What a reference's inside stands for. A name may not lead out of its directory."""
        is_path = body.startswith("file:")
        if is_path and "{name}" in body and self.name and not _is_path_part(self.name):
            raise Unfit("needs {name}, but the account's name cannot be part of a path")
        filled = self.words(body)
        reference = File(filled[5:]) if is_path else Variable(filled, None)
        return _read(reference, self.environ, self.folder)


def _is_path_part(name: str) -> bool:
    return ".." not in name and not set(name) & {"/", "\\", "\0"}
