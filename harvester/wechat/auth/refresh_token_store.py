"""Storage of the new refresh tokens that WeChat sends: a file per account, or a command."""

from __future__ import annotations

import os
from pathlib import Path

import anyio

from harvester.core.config.credentials import Command, Sink
from harvester.core.errors import CallTimedOut
from harvester.core.rule import Action, Rule, Scope
from harvester.core.secret import Secret
from harvester.wechat.auth import subprocess_secret
from harvester.wechat.auth.provider import TokenDenied

_NOT_STORED = Rule(
    Action.STOP,
    Scope.ACCOUNT,
    "the new refresh token could not be kept, so its access token was not used",
    "Check the file or command of platform.sink, then run again: WeChat's list still has the "
    "refresh token.",
)


async def store(sink: Sink | None, appid: str, token: Secret) -> None:
    """Pass an account's new refresh token to the sink. Raises TokenDenied if that fails."""
    failure: Secret | str = ""
    match sink and sink(appid):
        case Path() as path:
            try:
                await anyio.to_thread.run_sync(_write_file, path, token)
            except OSError as error:
                failure = f"{path}: {os.strerror(error.errno or 0)}"
        case Command() as command:
            try:
                failure = await subprocess_secret.run(command, token)
            except CallTimedOut as error:
                failure = str(error)
    # What a command prints when it succeeds is a Secret, and of no use here.
    if failure and isinstance(failure, str):
        raise TokenDenied(_NOT_STORED, failure)


async def stored(sink: Sink | None, appid: str) -> Secret | None:
    """Return the refresh token that an earlier run stored in a file; None if there is none.

    A token that went to a command reaches the next run through the manifest.
    """
    path = sink and sink(appid)
    if not isinstance(path, Path):
        return None
    text = await anyio.to_thread.run_sync(_read_file, path)
    return Secret(text) if text else None


def _read_file(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, ValueError):
        # No error, because a lost or damaged token is found again in WeChat's list.
        return ""


def _write_file(path: Path, token: Secret) -> None:
    """Replace a file as a whole, durably, readable by its owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.tmp")
    temp.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(token.reveal().encode())
            file.flush()
            os.fsync(file.fileno())
        temp.replace(path)
    finally:
        # Only there if something failed, and then it may hold half a secret.
        temp.unlink(missing_ok=True)
    # The new name is durable only once its directory is.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
