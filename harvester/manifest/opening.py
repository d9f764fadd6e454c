"""Credentials and the platform made ready for use: references followed, words filled in.

Only verbs that talk to WeChat do this, for the accounts they are about to ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from harvester.core import config, credentials
from harvester.core.config import (
    Account,
    CommandCredential,
    FileSink,
    Handed,
    RefreshCredential,
    SecretCredential,
    UrlCredential,
)
from harvester.core.credentials import Access
from harvester.core.errors import UsageError
from harvester.core.secret import Secret
from harvester.manifest import grammar
from harvester.manifest.mistakes import Unfit
from harvester.manifest.references import Filling

T = TypeVar("T")

_APPSECRET = "it must give the account's AppSecret and nothing else"
_TOKEN = "it must give an access token and nothing else"
_REFRESH = "it must give the account's refresh token and nothing else"
_HANDED = "correct it, or set what it names"


def access_of(account: Account, *, folder: Path, environ: Mapping[str, str]) -> Access:
    """What an account's credential says, ready for use.

    ``folder`` is the manifest's directory. Raises UsageError, which names the account and the
    variable or file, never what is in it.
    """
    credential = account.credential
    filling = Filling(account.appid, account.name, folder, environ)
    whose = f"the credential of {account.appid}"
    if credential is None:
        raise UsageError(f"{account.appid} has no credential", "give it one in the manifest")
    if isinstance(credential, SecretCredential):
        secret = _told(whose, _APPSECRET, lambda: filling.secret(credential.secret))
        return credentials.AppSecret(secret, credential.legacy)
    if isinstance(credential, RefreshCredential):
        if not credential.refresh_token:
            return credentials.RefreshToken()
        return credentials.RefreshToken(_reader(credential.refresh_token, filling, whose, _REFRESH))
    return _handed(credential, filling, whose, _TOKEN)


def platform_of(
    platform: config.Platform, *, folder: Path, environ: Mapping[str, str]
) -> credentials.Platform:
    """The platform with its secret, ready for use. Raises UsageError."""
    filling = Filling(platform.appid, "", folder, environ)
    whose = "the secret of the platform"
    given = platform.secret
    return credentials.Platform(
        platform.appid,
        None if given is None else _told(whose, _HANDED, lambda: filling.secret(given)),
        _of_platform(platform.verify_ticket, filling, "the verify_ticket of the platform"),
        _of_platform(platform.component_token, filling, "the component_token of the platform"),
        _sink(platform.sink, folder),
    )


def _of_platform(handed: Handed | None, filling: Filling, whose: str) -> credentials.Handed | None:
    return None if handed is None else _handed(handed, filling, whose, _HANDED)


def _sink(
    sink: config.Sink | None, folder: Path
) -> credentials.Files | credentials.Commands | None:
    if sink is None:
        return None
    if isinstance(sink, FileSink):
        path = sink.path
        return credentials.Files(lambda appid: folder / path.replace("{appid}", appid))
    argv, timeout = sink.command, sink.timeout

    def command(appid: str) -> credentials.Command:
        words = tuple(word.replace("{appid}", appid) for word in argv)
        return credentials.Command(words, folder, timeout or credentials.COMMAND_SECONDS)

    return credentials.Commands(command)


def _handed(handed: Handed, filling: Filling, whose: str, advice: str) -> credentials.Handed:
    if isinstance(handed, CommandCredential):
        argv = _told(whose, advice, lambda: tuple(map(filling.words, handed.command)))
        seconds = handed.timeout or credentials.COMMAND_SECONDS
        return credentials.Command(argv, filling.folder, seconds)
    if isinstance(handed, UrlCredential):
        return _told(whose, _HANDED, lambda: _url(handed, filling))
    read = _reader(handed.token, filling, whose, advice)
    ends = handed.expires_at
    if not ends:
        return credentials.Text(read)
    at = _told(whose, "write when the token ends", lambda: _moment(ends, filling))
    return credentials.Text(read, at)


def _moment(text: str, filling: Filling) -> float:
    return grammar.moment(filling.text(text))


def _url(handed: UrlCredential, filling: Filling) -> credentials.Url:
    url = filling.text(handed.url, lambda text: quote(text, safe=""))
    headers = {name: Secret(_header(filling.text(value))) for name, value in handed.headers}
    return credentials.Url(Secret(grammar.token_url(url)), headers)


def _header(value: str) -> str:
    if not value.isprintable():
        raise Unfit("has a header that is not one line")
    return value


def _reader(text: str, filling: Filling, whose: str, advice: str) -> Callable[[], Secret]:
    """Looks the secret up again whenever it is called; once now, so that mistakes are told."""

    def read() -> Secret:
        return _told(whose, advice, lambda: filling.secret(text))

    read()
    return read


def _told(whose: str, advice: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except Unfit as flaw:
        problem = f"{whose} {flaw.what}"
    # Raised out here, where the flaw is no context of it.
    raise UsageError(problem, advice)
