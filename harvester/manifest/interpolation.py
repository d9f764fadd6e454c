"""Resolution of ``${NAME}``, ``${NAME:-default}`` and ``${file:path}``.

References are resolved while the manifest is loaded, except in credentials and the platform. Those
are only checked then; `harvester.manifest.resolve_credentials` resolves them before a verb calls
WeChat.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harvester.core.config import references
from harvester.core.errors import InvalidValue
from harvester.manifest.diagnostics import Invalid, LoadContext
from harvester.manifest.text_file import Unreadable, read_text

_OR_DEFAULT = ", or write ${NAME:-default}"
_MAX_FILE_BYTES = 64 * 1024
_SECRET_KEYS = frozenset({"secret", "verify_ticket", "component_token", "command"})
"""Keys of the platform whose references are resolved later."""


def resolve_all(value: Any, context: LoadContext) -> None:
    """Replace every reference inside of ``value`` by its text, in place, except in credentials."""

    def walk(node: Any, loc: tuple[str | int, ...]) -> None:
        for step, child in node.items() if isinstance(node, dict) else enumerate(node):
            # Left for the verbs that call WeChat, so that all others need no secret.
            if step == "credential" or (loc[:1] == ("platform",) and step in _SECRET_KEYS):
                continue
            if isinstance(child, dict | list):
                walk(child, (*loc, step))
            elif isinstance(child, str) and "${" in child:
                context.references[child] = None
                try:
                    node[step] = resolve(child, context.environ, context.file.parent)
                except InvalidValue as flaw:
                    node[step] = Invalid(flaw.what, flaw.hint)

    if isinstance(value, dict | list):
        walk(value, ())


def resolve(text: str, environ: Mapping[str, str], folder: Path) -> references.Resolved:
    """Return the text with every reference replaced.

    Raises InvalidValue, which names the variable or file.
    """
    if "${" in references.REFERENCE.sub("", text):
        raise InvalidValue("holds a `${` that is no reference", f"write {references.FORMS}")
    return references.Resolved(
        references.REFERENCE.sub(
            lambda match: value_of(references.parse(match[1]), environ, folder, _OR_DEFAULT), text
        )
    )


def value_of(
    reference: references.Variable | references.File,
    environ: Mapping[str, str],
    folder: Path,
    otherwise: str = "",
) -> str:
    """Return the value of a variable or the text of a file, without line breaks at the end.

    ``otherwise`` is what else may be done than to set an unset variable.
    """
    if isinstance(reference, references.File):
        return _fetch_file(reference.path, folder)
    # Files and shells leave line ends behind, and no secret has one.
    value = environ.get(reference.name, "").rstrip("\r\n")
    if value:
        return value
    if reference.default is not None:
        return reference.default
    state = "empty" if reference.name in environ else "not set"
    quoted = references.quote_safe_name(reference.name)
    what = f"refers to the variable{quoted}, which is {state}"
    name = quoted.strip(" `") or "NAME"
    raise InvalidValue(what, f"set it before the start: export {name}=…{otherwise}")


def _fetch_file(path: str, folder: Path) -> str:
    text, flaw = "", "is empty"
    try:
        text = read_text(folder / path, largest=_MAX_FILE_BYTES).rstrip("\r\n")
    except Unreadable as error:
        flaw = error.what
    if not text:
        what = f"refers to the file{references.quote_safe_name(path)}, which {flaw}"
        raise InvalidValue(what, "write the file, or correct its path, from the manifest's folder")
    return text
