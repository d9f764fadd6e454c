"""What a manifest may say of tokens: the ways to one, and the third-party platform."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, Tag, model_validator

from harvester.manifest.ground import Shape, forms, key
from harvester.manifest.mistakes import Unfit
from harvester.manifest.scalars import (
    Appid,
    CommandWord,
    Duration,
    Expiry,
    Headers,
    Reference,
    SinkPath,
    TokenUrl,
)

KINDS = ("secret", "token", "token_command", "token_url", "refresh_token")
"""The ways to a token. Each of the other keys of a credential goes with one of them."""

_OPTIONS = {"expires_at": "token", "timeout": "token_command", "headers": "token_url"}

Argv = Annotated[list[CommandWord], Field(min_length=1)]


class Credential(Shape):
    """How an account's token is got: exactly one of the ways, and what goes with it."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [kind]} for kind in KINDS]})

    secret: Reference = key(
        'Where the AppSecret is, never the AppSecret itself: "${NAME}" reads the environment, '
        '"${file:path}" a file; {appid} and {name} are filled in.'
    )
    token: Reference = key(
        "Where an access token is that somebody else keeps fresh, in the forms of secret."
    )
    expires_at: Expiry = key(
        "When the token ends: 2026-06-15T12:00:00Z, seconds since 1970, or a ${…} with one of them."
    )
    token_command: Argv | None = key(
        "A command that prints the token, or JSON with access_token and expires_in: a list of the "
        "program and its arguments. No shell; {appid} and {name} are filled in."
    )
    timeout: Duration = key("The longest a token_command may take; 10s if left out.")
    token_url: TokenUrl = key(
        "A token server that answers with the token or such JSON. https only, http for localhost; "
        "{appid}, {name} and ${…} are filled in."
    )
    headers: Headers | None = key(
        'Headers for the token server, keys from a ${…}: Authorization: "Bearer ${KEY}".'
    )
    refresh_token: Reference = key(
        "Where the account's refresh token of the platform is, in the forms of secret."
    )

    @model_validator(mode="after")
    def _one(self) -> Credential:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if not given:
            raise Unfit(f"needs one of {', '.join(KINDS)}", 'as in {secret: "${NAME}"}')
        if len(given) > 1:
            raise Unfit(
                f"has both {given[0]} and {given[1]}", "an account has one way to its token"
            )
        for option, kind in _OPTIONS.items():
            if getattr(self, option) is not None and kind != given[0]:
                raise Unfit(f"has {option}, which goes with {kind}", "leave it out")
        return self


class Handed(Shape):
    """What somebody else keeps fresh, by command or address."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["command"]}, {"required": ["url"]}]}
    )

    command: Argv | None = key("A command that prints it, as token_command.")
    timeout: Duration = key("The longest the command may take; 10s if left out.")
    url: TokenUrl = key("An address that answers with it, as token_url.")
    headers: Headers | None = key("Headers for that address.")

    @model_validator(mode="after")
    def _one(self) -> Handed:
        if (self.command is None) == (self.url is None):
            raise Unfit("needs either command or url", 'or write "${NAME}" or "${file:path}"')
        if self.timeout is not None and self.command is None:
            raise Unfit("has timeout, which goes with command", "leave it out")
        if self.headers is not None and self.url is None:
            raise Unfit("has headers, which go with url", "leave them out")
        return self


HandedOver = Annotated[
    Annotated[Reference, Tag("[text]")] | Annotated[Handed, Tag("[mapping]")],
    forms('must be "${NAME}", "${file:path}" or a mapping of command or url'),
]


class Sink(Shape):
    """Where rotated refresh tokens go."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["file"]}, {"required": ["command"]}]}
    )

    file: SinkPath = key(
        "A file for each account, {appid} in its path. It is written with mode 0600, and what it "
        "holds wins over the manifest's refresh_token."
    )
    command: Argv | None = key(
        "A command that is given the token on its standard input; {appid} is filled in."
    )
    timeout: Duration = key("The longest the command may take; 10s if left out.")

    @model_validator(mode="after")
    def _one(self) -> Sink:
        if (self.file is None) == (self.command is None):
            raise Unfit("needs either file or command", "as in {file: refresh/{appid}}")
        if self.timeout is not None and self.command is None:
            raise Unfit("has timeout, which goes with command", "leave it out")
        return self


class Platform(Shape):
    """A third-party platform that accounts have authorised."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["secret", "verify_ticket"]}, {"required": ["component_token"]}]
        }
    )

    appid: Appid = Field(description="The platform's own appid (component_appid).")
    secret: Reference = key("Where the platform's secret is; needed with verify_ticket.")
    verify_ticket: HandedOver | None = key(
        "The component_verify_ticket that WeChat pushes: a reference, or {command: […]} or "
        "{url: …}. It is looked up again when WeChat says that it expired."
    )
    component_token: HandedOver | None = key(
        "A component access token that the live platform keeps fresh, in the forms of "
        "verify_ticket."
    )
    sink: Sink | None = key("Where a rotated refresh token goes before its access token is used.")

    @model_validator(mode="after")
    def _one(self) -> Platform:
        if (self.verify_ticket is None) == (self.component_token is None):
            raise Unfit("needs either verify_ticket or component_token")
        if self.verify_ticket is not None and self.secret is None:
            raise Unfit("needs its secret with a verify_ticket", 'write secret: "${NAME}"')
        if self.component_token is not None and self.secret is not None:
            raise Unfit("has a secret, which a component_token does without", "leave it out")
        return self
