"""Tokens that another program obtains: read, printed by a command, or served by a token server."""

from __future__ import annotations

import anyio

from harvester.core import errors
from harvester.core.config.credentials import Command, ExternalSource, HttpSource, SecretReader
from harvester.core.model import Refusal
from harvester.core.rule import Action, Rule, Scope
from harvester.core.secret import Secret
from harvester.wechat.auth import provider, subprocess_secret
from harvester.wechat.auth.provider import NOT_PROVIDED, TokenDenied
from harvester.wechat.auth.token_api import Grant, external_grant_of
from harvester.wechat.transport import Transport

CACHED_SECONDS = 60.0
"""Maximum seconds for which a token server's answer is used.

Not its whole life, because the server may replace the token for another client.
"""

_TEMPORARY_STATUS = (408, 425, 429)

_BAD_TLS = Rule(
    Action.DEFER,
    Scope.ACCOUNT,
    "the token server's certificate was not accepted",
    "Set api.ca_file if your own authority signs it. If it is out of date, compare this machine's"
    " clock with the time, or renew it. The check cannot be switched off.",
)

# The errcode with which WeChat refuses such a token.
EXPIRED = Refusal(42001, "the manifest's token has expired; only its owner can renew it", "")


async def read(source: ExternalSource, member: str, transport: Transport) -> Grant:
    """Return the token that a variable, file, command or token server has. Raises as these do."""
    match source:
        case SecretReader():
            return Grant(await read_secret(source), 0)
        case Command():
            return await run_command(source, member)
        case HttpSource():
            return await ask_server(source, transport, member)


async def read_secret(reader: SecretReader) -> Secret:
    """Read a variable or file. Raises TokenDenied."""
    try:
        return await anyio.to_thread.run_sync(reader.read)
    except errors.UsageError as error:
        raise TokenDenied(NOT_PROVIDED, error.problem) from None


async def run_command(command: Command, member: str) -> Grant:
    """Return the token that a command prints: a bare word, or JSON with the member.

    Raises TokenDenied if the command fails, and CallTimedOut if it takes too long.
    """
    output = await subprocess_secret.run(command)
    if isinstance(output, str):
        raise TokenDenied(NOT_PROVIDED, output)
    try:
        answer = external_grant_of(output.reveal().encode(), member)
    except errors.BadAnswer:
        name = subprocess_secret.name_of(command)
        why = f"{name} printed neither one word nor JSON with {member}"
        raise TokenDenied(NOT_PROVIDED, why) from None
    return provider.accepted(answer)


async def ask_server(source: HttpSource, transport: Transport, member: str) -> Grant:
    """Return the token that a token server answers: a bare word, or JSON with the member.

    Raises TokenDenied if the server refuses, and CallError if it may answer another time. Neither
    stops other accounts, because a fault of this server says nothing about WeChat.
    """
    try:
        status, body = await transport.get_from(source.url, source.headers)
    except errors.BadTls as error:
        raise TokenDenied(_BAD_TLS, str(error)) from None
    except errors.NotConnected as error:
        raise errors.NoTokenServer(str(error)) from None
    except errors.ForeignPage as error:
        raise errors.BadAnswer(str(error)) from None
    except errors.Unreachable as error:
        raise errors.ConnectionFailed(str(error)) from None
    # Passing, so tried again: a refusal would end the account for the whole run.
    if status >= 500 or status in _TEMPORARY_STATUS:
        raise errors.BadAnswer(f"the token server answered HTTP {status}")
    if status != 200:
        raise TokenDenied(NOT_PROVIDED, f"the token server answered HTTP {status}")
    try:
        return provider.accepted(external_grant_of(body, member))
    except errors.BadAnswer as error:
        raise errors.BadAnswer(f"the token server: {error}") from None
