"""Resolution of ``${NAME}``, ``${NAME:-default}`` and ``${file:path}``.

References are resolved while the manifest is loaded, except in credentials and the platform. Those
are only checked then; `harvester.manifest.resolve_credentials` resolves them before a verb calls
WeChat.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harvester.core.config.references import NAME, Reference, Resolved, quote_safe_name, split
from harvester.core.errors import InvalidValue
from harvester.manifest.diagnostics import Invalid, LoadContext, Steps
from harvester.manifest.text_file import Unreadable, read_text

_OR_DEFAULT = ", or write ${NAME:-default}"
_MAX_FILE_BYTES = 64 * 1024
_SECRET_KEYS = frozenset({"secret", "verify_ticket", "component_token", "command"})
"""Keys of the platform whose references are resolved later."""


def resolved(value: Any, context: LoadContext, loc: Steps = ()) -> Any:
    """Return a value at a path with every reference in it replaced, except in credentials.

    A text with a mistake becomes `Invalid`.
    """
    # Left for the verbs that call WeChat, so that all others need no secret.
    if loc[-1:] == ("credential",) or (loc[:1] == ("platform",) and loc[-1] in _SECRET_KEYS):
        return value
    if isinstance(value, dict):
        return {key: resolved(inner, context, (*loc, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [resolved(inner, context, (*loc, index)) for index, inner in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    try:
        return _filled(value, context)
    except InvalidValue as flaw:
        return Invalid(flaw.what, flaw.hint)


def _filled(text: str, context: LoadContext) -> Resolved:
    parts = split(text, NAME)
    context.references.update((part, None) for part in parts if isinstance(part, Reference))
    environ, folder = context.environ, context.file.parent
    return Resolved("".join(value_of(part, environ, folder, _OR_DEFAULT) for part in parts))


def value_of(
    part: str | Reference, environ: Mapping[str, str], folder: Path, otherwise: str = ""
) -> str:
    """Return the value of a variable, or the text of a file, without line breaks at the end.

    Text stays as it is. ``otherwise`` is what else may be done than to set an unset variable.
    Raises InvalidValue, which names the variable or file.
    """
    if isinstance(part, str):
        return part
    if part.is_file:
        return _fetch_file(part.name, folder)
    # Files and shells leave line ends behind, and no secret has one.
    value = environ.get(part.name, "").rstrip("\r\n") or part.default
    if value is not None:
        return value
    state = "empty" if part.name in environ else "not set"
    quoted = quote_safe_name(part.name)
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
        what = f"refers to the file{quote_safe_name(path)}, which {flaw}"
        raise InvalidValue(what, "write the file, or correct its path, from the manifest's folder")
    return text
