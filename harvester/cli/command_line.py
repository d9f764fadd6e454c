"""The arguments that were typed, for the commands to type next.

One that a variable sets need not be repeated, because it is still set for the next command.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

from cyclopts.argument import ArgumentCollection

MANIFEST = "MANIFEST"

_ABOUT = (MANIFEST, "--output", "--begin-date", "--end-date", "--accounts", "--datasets", "--jobs")

PROPOSED = {
    "run": (*_ABOUT, "--shard", "--processes", "--max-duration", "--lang"),
    "check": _ABOUT,
    "status": (*_ABOUT, "--lang"),
    "verify": _ABOUT,
    "forget": (MANIFEST, "--output", "--accounts", "--datasets"),
}
"""The arguments that a next command of each verb repeats.

They say what it is about, how long it may take, and its language. Written out, because to ask the
command line for them would load the module of the verb.
"""

_typed: ContextVar[Mapping[str, tuple[str, ...]]] = ContextVar("typed")


def remember(_app: object, _commands: object, arguments: ArgumentCollection) -> None:
    """Keep the arguments of this command that came from the command line."""
    found = {
        argument.name: tuple(token.value for token in argument.tokens if token.source == "cli")
        for argument in arguments
    }
    _typed.set(found)


def typed() -> Mapping[str, tuple[str, ...]]:
    """Return the values of each argument that the command line gave, by its name."""
    return _typed.get({})
