"""Mistakes of a command line as errors of harvester's own, which name the option and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from harvester.core.config.nearest import nearest
from harvester.core.config.references import quote_safe
from harvester.core.errors import UsageError
from harvester.core.text.inert_text import inert

_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


def usage_error(error: CycloptsError, verbs: Iterable[str]) -> UsageError:
    """Return what is wrong with a command line, and what to do."""
    verb = " ".join(map(inert, error.command_chain or ()))
    command = f"harvester {verb}".rstrip()
    lists = f"`harvester help{verb and ' '}{verb}` lists the options"
    match error:
        case UnknownCommandError(unused_tokens=[word, *_]):
            hint = nearest(word, verbs) or f"the verbs are {', '.join(verbs)}"
            return UsageError(f"there is no verb{quote_safe(word)}", hint)
        case UnknownOptionError(token=token, argument_collection=known):
            name = (token.keyword or token.value).partition("=")[0]
            names = [each for argument in known for each in argument.names if each[:1] == "-"]
            problem = f"`{command}` has no option{quote_safe(name)}"
            return UsageError(problem, nearest(name, names) or lists)
        case UnusedCliTokensError(unused_tokens=[word, *_]):
            hint = "quote a text with blanks, and separate several names by commas"
            return UsageError(f"`{command}`: one word too many:{quote_safe(word)}", hint)
        case MissingArgumentError(keyword=str(name)):
            hint = f"a value that begins with `-` is written {name}=-…; {lists}"
            return UsageError(f"{name} has no value", hint)
        case MissingArgumentError(argument=argument) if argument is not None:
            return UsageError(f"`{command}` needs {argument.name}", lists)
        case RepeatArgumentError(token=token):
            return UsageError(f"{token.keyword} is given twice", "leave one of them out")
        case CoercionError(token=token) if token is not None:
            return _unfit(error, lists)
    return UsageError(tuple(map(inert, str(error).split("\n"))), lists)


def _unfit(error: Any, lists: str) -> UsageError:
    """Return the error for a value of the wrong kind."""
    token, wanted = error.token, error.target_type
    name = token.keyword or error.argument.name
    if choices := get_args(wanted):
        hint = nearest(token.value, choices) or f"write one of {', '.join(choices)}"
        return UsageError(f"{name}: no such choice{quote_safe(token.value)}", hint)
    # Every text is a text, and a path.
    return UsageError(f"{name}:{quote_safe(token.value)} is not {_KINDS[wanted]}", lists)
