"""Credentials and the platform made ready for use: references followed, words filled in.

Only verbs that talk to WeChat do this, for the accounts they are about to ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from harvester.core import config, parsers
from harvester.core.credentials import (
    COMMAND_SECONDS,
    Access,
    AppSecret,
    Command,
    CommandSink,
    ExternalSource,
    FileSink,
    HttpSource,
    Platform,
    RefreshToken,
    SecretReader,
)
from harvester.core.errors import InvalidValue, UsageError
from harvester.core.secret import Secret
from harvester.manifest.interpolation import Interpolator

T = TypeVar("T")

_APPSECRET = "it must give the account's AppSecret and nothing else"
_TOKEN = "it must give an access token and nothing else"
_REFRESH = "it must give the account's refresh token and nothing else"
_HANDED = "correct it, or set what it names"


class _Opening(NamedTuple):
    """Follows the references of one credential, which ``whose`` names in complaints."""

    filling: Interpolator
    whose: str

    def secret(self, text: str, advice: str) -> Secret:
        """Return the secret behind a reference."""
        return self._told(advice, lambda: self.filling.secret(text))

    def reader(self, text: str, advice: str) -> Callable[[], Secret]:
        """Return what looks the secret up again. It is looked up now too, to tell mistakes."""
        self.secret(text, advice)
        return lambda: self.secret(text, advice)

    def text(self, token: str, advice: str, ends: str | None = None) -> SecretReader:
        """Return a text that is kept fresh elsewhere."""
        read = self.reader(token, advice)
        if ends is None:
            return SecretReader(read)
        moment = self._told(
            "write when the token ends", lambda: parsers.moment(self.filling.text(ends))
        )
        return SecretReader(read, moment)

    def command(self, words: tuple[str, ...], seconds: float | None, advice: str) -> Command:
        """Return a command, its words filled in."""
        argv = self._told(advice, lambda: tuple(map(self.filling.words, words)))
        return Command(argv, self.filling.folder, seconds or COMMAND_SECONDS)

    def url(self, url: str, headers: Mapping[str, str] | None) -> HttpSource:
        """Return an address with its headers, filled in."""
        return self._told(_HANDED, lambda: _url(url, headers or {}, self.filling))

    def _told(self, advice: str, make: Callable[[], T]) -> T:
        try:
            return make()
        except InvalidValue as flaw:
            problem = f"{self.whose} {flaw.what}"
        # Raised out here, where the flaw is no context of it.
        raise UsageError(problem, advice)


def access_of(account: config.Account, *, folder: Path, environ: Mapping[str, str]) -> Access:
    """Return what an account's credential says, ready for use.

    An account without one has its refresh token in the platform's list. ``folder`` is the
    manifest's directory. Raises UsageError, which names the account and the variable or file, never
    what is in it.
    """
    credential = account.credential
    if credential is None:
        return RefreshToken()
    filling = Interpolator(account.appid, account.name, folder, environ)
    opening = _Opening(filling, f"the credential of {account.appid}")
    if credential.secret is not None:
        return AppSecret(opening.secret(credential.secret, _APPSECRET), account.legacy_token)
    if credential.refresh_token is not None:
        return RefreshToken(opening.reader(credential.refresh_token, _REFRESH))
    if credential.token is not None:
        return opening.text(credential.token, _TOKEN, credential.expires_at)
    if credential.token_command is not None:
        return opening.command(credential.token_command, credential.timeout, _TOKEN)
    return opening.url(credential.token_url or "", credential.headers)


def platform_of(platform: config.Platform, *, folder: Path, environ: Mapping[str, str]) -> Platform:
    """Return the platform with its secret, ready for use. Raises UsageError."""
    filling = Interpolator(platform.appid, "", folder, environ)
    secret = platform.secret
    opening = _Opening(filling, "the secret of the platform")
    return Platform(
        platform.appid,
        None if secret is None else opening.secret(secret, _HANDED),
        _handed(platform.verify_ticket, filling, "the verify_ticket of the platform"),
        _handed(platform.component_token, filling, "the component_token of the platform"),
        _sink(platform.sink, folder),
    )


def _handed(
    given: str | config.External | None, filling: Interpolator, whose: str
) -> ExternalSource | None:
    opening = _Opening(filling, whose)
    if given is None:
        return None
    if isinstance(given, str):
        return opening.text(given, _HANDED)
    if given.command is not None:
        return opening.command(given.command, given.timeout, _HANDED)
    return opening.url(given.url or "", given.headers)


def _sink(sink: config.Sink | None, folder: Path) -> FileSink | CommandSink | None:
    if sink is None:
        return None
    path, argv, timeout = sink.file, sink.command or (), sink.timeout or COMMAND_SECONDS
    if path is not None:
        return FileSink(lambda appid: folder / path.replace("{appid}", appid))

    def command(appid: str) -> Command:
        return Command(tuple(word.replace("{appid}", appid) for word in argv), folder, timeout)

    return CommandSink(command)


def _url(url: str, headers: Mapping[str, str], filling: Interpolator) -> HttpSource:
    filled = filling.text(url, lambda text: quote(text, safe=""))
    values = {name: Secret(_header(filling.text(value))) for name, value in headers.items()}
    return HttpSource(Secret(parsers.token_url(filled)), values)


def _header(value: str) -> str:
    if not value.isprintable():
        raise InvalidValue("has a header that is not one line")
    return value
