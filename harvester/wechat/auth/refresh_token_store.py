"""Where a refresh token goes that was replaced: a file of its own, or a command's hands."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio

from harvester.catalogue.error_codes import Action, Rule, Scope
from harvester.core.credentials import CommandSink, FileSink
from harvester.core.errors import CallTimedOut
from harvester.core.secret import Secret
from harvester.wechat.auth import subprocess_secret
from harvester.wechat.auth.provider import TokenDenied

_LOST = Rule(
    Action.STOP,
    Scope.ACCOUNT,
    "the new refresh token could not be kept, so its access token was not used",
    "See to platform.sink, then run again: WeChat's list still has the refresh token.",
)


async def keep(
    sink: FileSink | CommandSink | None, appid: str, token: Secret, limiter: anyio.CapacityLimiter
) -> TokenDenied | None:
    """Hand over an account's new refresh token; says so if that failed."""
    if sink is None:
        return None
    if isinstance(sink, FileSink):
        path = sink.path(appid)
        try:
            await anyio.to_thread.run_sync(partial(_write, path, token))
        except OSError as error:
            return TokenDenied(_LOST, f"{path}: {os.strerror(error.errno or 0)}")
        return None
    try:
        failed = await subprocess_secret.run(sink.command(appid), limiter, token)
    except CallTimedOut as error:
        return TokenDenied(_LOST, str(error))
    return TokenDenied(_LOST, failed) if isinstance(failed, str) else None


async def kept(sink: FileSink | CommandSink | None, appid: str) -> Secret | None:
    """The refresh token that an earlier run has left in its file; None if there is none.

    What a command was given is for the user to put where the manifest reads.
    """
    if not isinstance(sink, FileSink):
        return None
    text = await anyio.to_thread.run_sync(partial(_read, sink.path(appid)))
    return Secret(text) if text else None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, ValueError):
        # Lost or spoilt, it costs a look into WeChat's list.
        return ""


def _write(path: Path, token: Secret) -> None:
    """Whole or not at all, on the disk before it counts, and for nobody else's eyes."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.tmp")
    temp.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(token.reveal().encode())
            file.flush()
            os.fsync(file.fileno())
        temp.replace(path)
    except BaseException:
        with suppress(OSError):
            temp.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
