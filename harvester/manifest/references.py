"""``${NAME}``, ``${NAME:-default}`` and ``${file:path}``: what a manifest reads from outside.

Everywhere but in a credential they are resolved when the manifest is loaded. A credential's
reference is only read then; `credential_of` follows it when a run is about to talk to WeChat.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harvester.errors import UsageError
from harvester.manifest.mistakes import Reading, Resolved, Unfit, Where, shown, shown_name
from harvester.manifest.source import Unreadable, read_text
from harvester.manifest.yaml_tree import BROKEN
from harvester.model import Account, SecretCredential
from harvester.secret import Secret

FORMS = "${NAME}, ${NAME:-default} or ${file:path}"
SECRET_FORMS = 'write "${NAME}" or "${file:path}"'

_LARGEST_FILE = 64 * 1024
_REFERENCE = re.compile(r"\$\{((?:[^{}]|\{[^{}]*\})*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILLED_NAME = re.compile(r"(?:[A-Za-z_]|\{appid\}|\{name\})(?:[A-Za-z0-9_]|\{appid\}|\{name\})*")
_FILL = re.compile(r"\{([^{}]*)\}")
_FILLS = ("appid", "name")


class Variable(NamedTuple):
    """An environment variable. ``default`` is what stands for an unset or empty one."""

    name: str
    default: str | None


class File(NamedTuple):
    """A file whose text is meant; a relative path counts from the manifest's directory."""

    path: str


def resolve_all(value: Any, where: Where, reading: Reading) -> None:
    """Put the text behind every reference in place, in the value itself, but for credentials."""

    def walk(node: Any, loc: tuple[str | int, ...]) -> None:
        for step, child in node.items() if isinstance(node, dict) else enumerate(node):
            if step == "credential":
                continue
            if isinstance(child, dict | list):
                walk(child, (*loc, step))
            elif isinstance(child, str) and "${" in child:
                try:
                    node[step] = resolve(child, reading.environ, reading.folder)
                except Unfit as flaw:
                    name = next(part for part in (step, *reversed(loc)) if isinstance(part, str))
                    reading.mistakes.at(where((*loc, step)), f"`{name}` {flaw.what}", flaw.hint)
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
    reference = _parse(match[1], _FILLED_NAME)
    if isinstance(reference, Variable) and reference.default is not None:
        raise Unfit("must not have a default, which would be the secret itself", "write ${NAME}")
    unknown = [fill for fill in _FILL.findall(match[1]) if fill not in _FILLS]
    if unknown:
        raise Unfit(
            f"has{shown('{' + unknown[0] + '}')}, which nothing fills in", "{appid} and {name} are"
        )
    return text


def credential_of(account: Account, *, folder: Path, environ: Mapping[str, str]) -> Secret:
    """The AppSecret or token an account's credential refers to, read now.

    ``folder`` is the manifest's directory. Raises UsageError, which names the account and the
    variable or file, never what is in it.
    """
    credential = account.credential
    if credential is None:
        raise UsageError(f"{account.appid} has no credential", "give it one in the manifest")
    is_secret = isinstance(credential, SecretCredential)
    text = credential.secret if isinstance(credential, SecretCredential) else credential.token
    try:
        value = _read(_filled(text, account), environ, folder)
        if not value.isprintable() or " " in value:
            raise Unfit("refers to more than one word")
    except Unfit as flaw:
        problem = f"the credential of {account.appid} {flaw.what}"
    else:
        return Secret(value)
    noun = "the account's AppSecret" if is_secret else "an access token"
    raise UsageError(problem, f"it must give {noun} and nothing else")


def _filled(text: str, account: Account) -> Variable | File:
    """The reference of one account. A name may not lead out of the directory it stands in."""
    check_credential(text)
    body = text[2:-1]
    if "{name}" in body:
        if not account.name:
            raise Unfit("needs {name}, but the account has no name")
        if body.startswith("file:") and not _is_path_part(account.name):
            raise Unfit("needs {name}, but the account's name cannot be part of a path")
    fills = {"appid": account.appid, "name": account.name}
    filled = _FILL.sub(lambda match: fills[match[1]], body)
    return File(filled[5:]) if filled.startswith("file:") else Variable(filled, None)


def _is_path_part(name: str) -> bool:
    return ".." not in name and not set(name) & {"/", "\\", "\0"}
