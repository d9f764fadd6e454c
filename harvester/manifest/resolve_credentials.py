"""Resolution of the references in credentials and in the platform.

Only verbs that call WeChat do this, for the accounts they call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import environ
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from harvester.core.config import credentials, parsers, settings
from harvester.core.errors import InvalidValue, UsageError
from harvester.core.secret import Secret
from harvester.core.text.inert_text import inert
from harvester.manifest.interpolation import Interpolator

T = TypeVar("T")

_APPSECRET = "it must give the account's AppSecret and nothing else"
_TOKEN = "it must give an access token and nothing else"
_REFRESH = "it must give the account's refresh token and nothing else"
_EXTERNAL = "correct it, or set what it names"


class _Resolver(NamedTuple):
    """Resolver of one credential that turns mistakes into UsageError. ``whose`` names it there."""

    interpolator: Interpolator
    whose: str
    hidden: frozenset[str]

    def secret(self, text: str, advice: str) -> Secret:
        """Return the secret that a reference names."""
        return self._attempt(advice, lambda: self.interpolator.secret(text))

    def reader(self, text: str, advice: str) -> Callable[[], Secret]:
        """Return a function that reads the secret again."""
        # Read once now, so that mistakes are reported before the first request.
        self.secret(text, advice)
        return lambda: self.secret(text, advice)

    def text(
        self, token: str, advice: str, expires_at: str | None = None
    ) -> credentials.SecretReader:
        """Return a secret that another service renews."""
        read = self.reader(token, advice)
        if expires_at is None:
            return credentials.SecretReader(read)
        advice = "write when the token ends"
        moment = self._attempt(advice, lambda: parsers.moment(self.interpolator.text(expires_at)))
        return credentials.SecretReader(read, moment)

    def command(
        self, words: tuple[str, ...], seconds: float | None, advice: str
    ) -> credentials.Command:
        """Return a command with ``{appid}`` and ``{name}`` replaced."""
        argv = self._attempt(advice, lambda: tuple(map(self.interpolator.substitute, words)))
        seconds = seconds or credentials.COMMAND_SECONDS
        return credentials.Command(argv, self.interpolator.folder, seconds, self.hidden)

    def url(self, url: str, headers: Mapping[str, str] | None) -> credentials.HttpSource:
        """Return an address and its headers with references and fields replaced."""
        return self._attempt(_EXTERNAL, lambda: _url(url, headers or {}, self.interpolator))

    def _attempt(self, advice: str, make: Callable[[], T]) -> T:
        try:
            return make()
        except InvalidValue as flaw:
            problem = f"{self.whose} {flaw.what}"
            advice = f"{flaw.hint}; {advice}" if flaw.hint else advice
        # Raised outside of the handler, so that the InvalidValue is not attached to it.
        raise UsageError(problem, advice)


def whose_credential(account: settings.Account) -> str:
    """Name the credential of an account in messages."""
    name = f" ({inert(account.name)})" if account.name else ""
    return f"the credential of {account.appid}{name}"


def access_of(
    account: settings.Account,
    *,
    folder: Path,
    environ: Mapping[str, str],
    hidden: frozenset[str] = frozenset(),
) -> credentials.Access:
    """Return an account's credential with its references resolved.

    Without a credential the refresh token is taken from the platform's list. ``folder`` is the
    manifest's directory, ``hidden`` has the variables that commands do not inherit. Raises
    UsageError, which names the account and the variable or file, and never a value.
    """
    credential = account.credential
    if credential is None:
        return credentials.RefreshToken()
    interpolator = Interpolator(account.appid, account.name, folder, environ)
    resolver = _Resolver(interpolator, whose_credential(account), hidden)
    if credential.secret is not None:
        return credentials.AppSecret(
            resolver.secret(credential.secret, _APPSECRET), account.legacy_token
        )
    if credential.refresh_token is not None:
        return credentials.RefreshToken(resolver.reader(credential.refresh_token, _REFRESH))
    if credential.token is not None:
        return resolver.text(credential.token, _TOKEN, credential.expires_at)
    if credential.token_command is not None:
        return resolver.command(credential.token_command, credential.timeout, _TOKEN)
    return resolver.url(credential.token_url or "", credential.headers)


def platform_of(
    platform: settings.Platform,
    *,
    folder: Path,
    environ: Mapping[str, str],
    hidden: frozenset[str] = frozenset(),
) -> credentials.PlatformAccess:
    """Return the platform with its references resolved, as `access_of`. Raises UsageError."""
    interpolator = Interpolator(platform.appid, "", folder, environ)
    resolver = _Resolver(interpolator, "the secret of the platform", hidden)
    ticket = resolver._replace(whose="the verify_ticket of the platform")
    token = resolver._replace(whose="the component_token of the platform")
    return credentials.PlatformAccess(
        platform.appid,
        None if platform.secret is None else resolver.secret(platform.secret, _EXTERNAL),
        _external(platform.verify_ticket, ticket),
        _external(platform.component_token, token),
        _sink(platform.sink, folder, hidden),
    )


def _external(
    given: str | settings.External | None, resolver: _Resolver
) -> credentials.ExternalSource | None:
    if given is None:
        return None
    if isinstance(given, str):
        return resolver.text(given, _EXTERNAL)
    if given.command is not None:
        return resolver.command(given.command, given.timeout, _EXTERNAL)
    return resolver.url(given.url or "", given.headers)


def _sink(
    sink: settings.Sink | None, folder: Path, hidden: frozenset[str]
) -> credentials.FileSink | credentials.CommandSink | None:
    if sink is None:
        return None
    path, argv, timeout = sink.file, sink.command or (), sink.timeout or credentials.COMMAND_SECONDS
    if path is not None:
        return credentials.FileSink(lambda appid: folder / path.replace("{appid}", appid))
    return credentials.CommandSink(
        lambda appid: credentials.Command(
            tuple(word.replace("{appid}", appid) for word in argv), folder, timeout, hidden
        )
    )


def _url(
    url: str, headers: Mapping[str, str], interpolator: Interpolator
) -> credentials.HttpSource:
    address = interpolator.template(url, parsers.token_url, lambda text: quote(text, safe=""))
    values = {name: interpolator.template(value, _header) for name, value in headers.items()}
    return credentials.HttpSource(address, values)


def _header(value: str) -> str:
    if not value.isprintable():
        raise InvalidValue("has a header that is not one line", "remove the line breaks")
    return value


class CredentialReader:
    """Reader of the secrets that a manifest refers to, in this process or another of its run."""

    def access(self, manifest: settings.Manifest, account: settings.Account) -> credentials.Access:
        """Return the credential of an account. Raises as `access_of`."""
        folder, hidden = manifest.file.parent, manifest.secret_variables
        return access_of(account, folder=folder, environ=environ, hidden=hidden)

    def platform(self, manifest: settings.Manifest) -> credentials.PlatformAccess | None:
        """Return the platform of a manifest that has one. Raises as `platform_of`."""
        if manifest.platform is None:
            return None
        folder, hidden = manifest.file.parent, manifest.secret_variables
        return platform_of(manifest.platform, folder=folder, environ=environ, hidden=hidden)

    def whose(self, account: settings.Account) -> str:
        """Name the credential of an account in messages."""
        return whose_credential(account)
