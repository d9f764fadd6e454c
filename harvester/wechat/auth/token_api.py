"""Requests for tokens and their answers, as they go over the wire.

Bodies and queries made here hold secrets: they are for the transport alone.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from harvester.core.errors import BadAnswer
from harvester.core.model import Refusal
from harvester.core.secret import Secret
from harvester.wechat.protocol import members_of, whole_number

PAGE_SIZE = 500
"""Maximum number of authorised accounts that one call lists."""

MAX_LIFE_SECONDS = 7200
"""Maximum life of a token: a longer one in an answer is a mistake."""

_MAX_TOKEN_LENGTH = 4096


class Grant(NamedTuple):
    """A token and the seconds it has left, 0 if its issuer did not say."""

    token: Secret
    expires_in: int


class AuthorisedPage(NamedTuple):
    """One page of the platform's list: refresh tokens by appid, and the length of the whole list.

    ``items`` counts all entries of the page, also those without a token.
    """

    tokens: dict[str, Secret]
    total: int
    items: int


def request_body(**members: object) -> bytes:
    """Return the body of a request, in which secrets stand as they are."""
    return json.dumps(members, separators=(",", ":"), default=Secret.reveal).encode()


def grant_of(status: int, body: bytes, member: str = "access_token") -> Grant | Refusal:
    """Return the token in an answer, or WeChat's refusal. Raises BadAnswer for anything else.

    A life that is missing, negative or not a number counts as 0, one beyond 7200 s as 7200.
    """
    answer = members_of(status, body)
    if isinstance(answer, Refusal):
        return answer
    token = answer.get(member)
    if not isinstance(token, str) or not token:
        raise BadAnswer("the answer has neither a token nor an errcode")
    life = whole_number(answer.get("expires_in")) or 0
    return Grant(Secret(token), max(0, min(life, MAX_LIFE_SECONDS)))


def refreshed_of(status: int, body: bytes) -> tuple[Grant, Secret] | Refusal:
    """Read an answer of ``api_authorizer_token``. Raises BadAnswer.

    Returns the account's token, and the refresh token that is valid from now on.
    """
    grant = grant_of(status, body, "authorizer_access_token")
    if isinstance(grant, Refusal):
        return grant
    refresh = grant_of(status, body, "authorizer_refresh_token")
    if isinstance(refresh, Refusal):
        raise BadAnswer("the answer has no refresh token")
    return grant, refresh.token


def page_of(status: int, body: bytes) -> AuthorisedPage | Refusal:
    """Read a page of ``api_get_authorizer_list``. Raises BadAnswer."""
    answer = members_of(status, body)
    if isinstance(answer, Refusal):
        return answer
    items, total = answer.get("list"), answer.get("total_count")
    if not isinstance(items, list) or not isinstance(total, int):
        raise BadAnswer("the answer is not a list of authorised accounts")
    tokens: dict[str, Secret] = {}
    for item in items:
        match item:
            case {"authorizer_appid": str(appid), "refresh_token": str(token)}:
                tokens[appid] = Secret(token)
    return AuthorisedPage(tokens, total, len(items))


def external_grant_of(body: bytes, member: str) -> Grant | Refusal:
    """Read what a command or a token server gives: one bare word, or JSON with the member.

    JSON may have ``expires_in`` too, or pass on WeChat's errcode. Raises BadAnswer for all else.
    """
    text = body.decode("utf-8-sig", errors="replace").strip()
    if text[:1] in ("{", '"', "["):
        return grant_of(200, text.encode(), member)
    # A page of a proxy begins with `<`, and a sentence has blanks: neither is sent as a token.
    if not text or not text.isprintable() or " " in text or text[0] == "<":
        raise BadAnswer("the answer is neither one word nor JSON")
    if len(text) > _MAX_TOKEN_LENGTH:
        raise BadAnswer(f"the answer is a word of more than {_MAX_TOKEN_LENGTH} characters")
    return Grant(Secret(text), 0)
