"""Resolution of the references in credentials and in the platform.

Only verbs that call WeChat do this, for the accounts they call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import environ
from typing import NamedTuple
from urllib.parse import quote

from harvester.core.config import credentials, parsers, references, settings
from harvester.core.config.parsers import parsed
from harvester.core.errors import InvalidValue
from harvester.core.secret import Secret
from harvester.core.text.inert_text import inert
from harvester.manifest.interpolation import value_of

_APPSECRET = "it must give the account's AppSecret and nothing else"
_TOKEN = "it must give an access token and nothing else"
_REFRESH = "it must give the account's refresh token and nothing else"
_END = "write when the token ends"
_EXTERNAL = "correct it, or set what it names"


class Resolver(NamedTuple):
    """Resolver of the references in one credential of an account or a platform.

    It turns mistakes into UsageError, in which ``whose`` names the credential.
    """

    manifest: settings.Manifest
    appid: str
    name: str
    whose: str

    def secret(self, text: str, advice: str) -> Secret:
        """Return the secret that a reference names."""
        return parsed(self.whose, text, self._word, advice)

    def reader(self, text: str, advice: str, ends: str | None = None) -> credentials.SecretReader:
        """Return a secret that another service renews, and when it ``ends``."""
        # Read once now, so that mistakes are reported before the first request.
        self.secret(text, advice)
        end = None if ends is None else parsed(self.whose, ends, self._moment, _END)
        return credentials.SecretReader(lambda: self.secret(text, advice), end)

    def command(
        self, words: tuple[str, ...], seconds: float | None, advice: str
    ) -> credentials.Command:
        """Return a command with ``{appid}`` and ``{name}`` replaced."""
        argv = tuple(parsed(self.whose, word, self._filled, advice) for word in words)
        # In the folder of the manifest, without the variables of credentials.
        folder, hidden = self.manifest.file.parent, self.manifest.secret_variables
        return credentials.Command(argv, folder, seconds or credentials.COMMAND_SECONDS, hidden)

    def url(self, url: str, headers: Mapping[str, str] | None) -> credentials.HttpSource:
        """Return an address and its headers with references and fields replaced."""
        given = (headers or {}).items()
        address = parsed(self.whose, url, self._address, _EXTERNAL)
        values = {name: parsed(self.whose, text, self._header, _EXTERNAL) for name, text in given}
        return credentials.HttpSource(address, values)

    def _word(self, text: str) -> Secret:
        """Return the value of a reference, a single word. Raises InvalidValue, as the next ones."""
        value = "".join(self._parts(text))
        # A file with a label or a second line would be sent to WeChat as it is.
        if not value.isprintable() or " " in value:
            raise InvalidValue("refers to more than one word", "let it hold the secret alone")
        return Secret(value)

    def _moment(self, text: str) -> float:
        return parsers.moment("".join(self._parts(text)))

    def _address(self, text: str) -> Secret:
        # Fields are quoted whole, because a name with a slash must not become another path.
        parts = self._parts(text, lambda value: quote(value, safe=""))
        return Secret(parsers.token_url("".join(parts)), parts[1::2])

    def _header(self, text: str) -> Secret:
        parts = self._parts(text)
        value = "".join(parts)
        if not value.isprintable():
            raise InvalidValue("has a header that is not one line", "remove the line breaks")
        return Secret(value, parts[1::2])

    def _parts(self, text: str, encode: Callable[[str], str] = str) -> list[str]:
        """Return the parts of a text in order. Every second part is the value of a reference.

        ``encode`` is applied to the fields between them.
        """
        return [
            self._filled(part, encode) if isinstance(part, str) else self._value(part)
            for part in references.split(text)
        ]

    def _filled(self, text: str, encode: Callable[[str], str] = str) -> str:
        """Return a text with ``{appid}`` and ``{name}`` replaced."""
        if "{name}" in text and not self.name:
            what = "needs {name}, but the account has no name"
            raise InvalidValue(what, "name it, or use {appid}")
        return references.filled(text, {"appid": self.appid, "name": encode(self.name)})

    def _value(self, reference: references.Reference) -> str:
        # The name comes from a list that others may edit: it must not lead out of the folder.
        is_part = ".." not in self.name and not set(self.name) & {"/", "\\", "\0"}
        if reference.is_file and "{name}" in reference.name and not is_part:
            what = "needs {name}, but the account's name cannot be part of a path"
            raise InvalidValue(what, "use {appid}")
        named = reference._replace(name=self._filled(reference.name))
        return value_of(named, environ, self.manifest.file.parent)


class CredentialReader:
    """Reader of the secrets that a manifest refers to, in this process or another of its run."""

    def access(self, manifest: settings.Manifest, account: settings.Account) -> credentials.Access:
        """Return an account's credential with its references resolved.

        Without a credential the refresh token is taken from the platform's list. Raises UsageError,
        which names the account and the variable or file, and never a value.
        """
        credential = account.credential
        if credential is None:
            return credentials.RefreshToken()
        resolver = Resolver(manifest, account.appid, account.name, self.whose(account))
        if credential.secret is not None:
            return credentials.AppSecret(
                resolver.secret(credential.secret, _APPSECRET), account.legacy_token
            )
        if credential.refresh_token is not None:
            return credentials.RefreshToken(resolver.reader(credential.refresh_token, _REFRESH))
        if credential.token is not None:
            return resolver.reader(credential.token, _TOKEN, credential.expires_at)
        if credential.token_command is not None:
            return resolver.command(credential.token_command, credential.timeout, _TOKEN)
        return resolver.url(credential.token_url or "", credential.headers)

    def platform(self, manifest: settings.Manifest) -> credentials.PlatformAccess | None:
        """Return the platform with its references resolved, as `access`; None if there is none."""
        platform = manifest.platform
        if platform is None:
            return None
        resolver = Resolver(manifest, platform.appid, "", "the secret of the platform")
        ticket = resolver._replace(whose="the verify_ticket of the platform")
        token = resolver._replace(whose="the component_token of the platform")
        return credentials.PlatformAccess(
            platform.appid,
            None if platform.secret is None else resolver.secret(platform.secret, _EXTERNAL),
            _external(platform.verify_ticket, ticket),
            _external(platform.component_token, token),
            _sink(platform.sink, resolver),
        )

    def whose(self, account: settings.Account) -> str:
        """Name the credential of an account in messages."""
        name = f" ({inert(account.name)})" if account.name else ""
        return f"the credential of {account.appid}{name}"


def _external(
    given: str | settings.External | None, resolver: Resolver
) -> credentials.ExternalSource | None:
    if given is None:
        return None
    if isinstance(given, str):
        return resolver.reader(given, _EXTERNAL)
    if given.command is not None:
        return resolver.command(given.command, given.timeout, _EXTERNAL)
    return resolver.url(given.url or "", given.headers)


def _sink(sink: settings.Sink | None, resolver: Resolver) -> credentials.Sink | None:
    if sink is None:
        return None
    path, words = sink.file, sink.command or ()
    if path is not None:
        return lambda appid: resolver.manifest.file.parent / path.replace("{appid}", appid)
    return lambda appid: resolver._replace(appid=appid).command(words, sink.timeout, _EXTERNAL)
