"""``${NAME}``, ``${NAME:-default}`` and ``${file:path}``: what a manifest reads from outside.

Everywhere but in credentials and the platform they are resolved when the manifest is loaded. A
credential's reference is only read then; `harvester.manifest.resolve_credentials` follows it when a
verb is about to talk to WeChat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harvester.core.errors import InvalidValue
from harvester.core.references import (
    FILL,
    FORMS,
    REFERENCE,
    File,
    Resolved,
    Variable,
    check_credential,
    check_template,
    parse,
    parts,
    shown_name,
)
from harvester.core.secret import Secret
from harvester.manifest.diagnostics import INVALID, LoadContext, Where, named
from harvester.manifest.text_file import Unreadable, read_text

_LARGEST_FILE = 64 * 1024
_LATER = frozenset({"secret", "verify_ticket", "component_token", "command"})


def resolve_all(value: Any, where: Where, reading: LoadContext) -> None:
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
                except InvalidValue as flaw:
                    name = next(part for part in (step, *reversed(loc)) if isinstance(part, str))
                    reading.mistakes.add(
                        where((*loc, step)), f"{named(name)} {flaw.what}", flaw.hint
                    )
                    node[step] = INVALID

    if isinstance(value, dict | list):
        walk(value, ())


def resolve(text: str, environ: Mapping[str, str], folder: Path) -> Resolved:
    """The text with every reference replaced. Raises InvalidValue, naming the variable or file."""
    rest = REFERENCE.sub("", text)
    if "${" in rest:
        raise InvalidValue("holds a `${` that is no reference", f"write {FORMS}")
    return Resolved(REFERENCE.sub(lambda match: _read(parse(match[1]), environ, folder), text))


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
    raise InvalidValue(
        f"refers to the variable{shown_name(reference.name)}, which is {state}",
        "set it, or write ${NAME:-default}",
    )


def _read_file(path: str, folder: Path) -> str:
    if "{" in path:
        raise InvalidValue("refers to a file by {appid} or {name}, which only a credential can")
    try:
        text = read_text(folder / path, largest=_LARGEST_FILE).rstrip("\r\n")
    except Unreadable as flaw:
        raise InvalidValue(f"refers to the file{shown_name(path)}, which {flaw.what}") from None
    if not text:
        raise InvalidValue(f"refers to the file{shown_name(path)}, which is empty")
    return text


class Interpolator(NamedTuple):
    """What a reference is followed with: whose it is, where relative paths begin, the variables."""

    appid: str
    name: str
    folder: Path
    environ: Mapping[str, str]

    def secret(self, text: str) -> Secret:
        """The one word that a credential's reference leads to. Raises InvalidValue."""
        check_credential(text)
        value = self._follow(text[2:-1])
        if not value.isprintable() or " " in value:
            raise InvalidValue("refers to more than one word")
        return Secret(value)

    def text(self, text: str, quote: Callable[[str], str] = str) -> str:
        """A text with everything filled in; ``quote`` is for what fills the literal parts."""
        check_template(text)
        literals, bodies = parts(text)
        written = [self.words(literal, quote) for literal in literals]
        values = [*map(self._follow, bodies), ""]
        return "".join(part for pair in zip(written, values, strict=True) for part in pair)

    def words(self, text: str, quote: Callable[[str], str] = str) -> str:
        """A text without references, ``{appid}`` and ``{name}`` filled in. Raises InvalidValue."""
        if "{name}" in text and not self.name:
            raise InvalidValue("needs {name}, but the account has no name")
        fills = {"appid": self.appid, "name": self.name}
        return FILL.sub(lambda match: quote(fills[match[1]]), text)

    def _follow(self, body: str) -> str:
        """What a reference's inside stands for. A name may not lead out of its directory."""
        is_path = body.startswith("file:")
        if is_path and "{name}" in body and self.name and not _is_path_part(self.name):
            raise InvalidValue("needs {name}, but the account's name cannot be part of a path")
        filled = self.words(body)
        reference = File(filled[5:]) if is_path else Variable(filled, None)
        return _read(reference, self.environ, self.folder)


def _is_path_part(name: str) -> bool:
    return ".." not in name and not set(name) & {"/", "\\", "\0"}
