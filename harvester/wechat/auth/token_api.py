"""Questions for tokens and the answers to them, as they go over the wire.

Bodies and queries made here hold secrets: they are for the transport alone.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from harvester.core.errors import BadAnswer
from harvester.core.model import Refusal, is_appid
from harvester.core.secret import Secret
from harvester.wechat.protocol import members_of, whole_number

PAGE = 500
"""The most authorised accounts that one call lists."""

_LONGEST_TOKEN = 4096


LONGEST_LIFE = 7200
"""No token lives longer than this many seconds."""


class Grant(NamedTuple):
    """A token and the seconds it has left, 0 if WeChat did not say."""

    token: Secret
    expires_in: int


def life_of(answer: dict[str, Any]) -> int:
    """The seconds that an answer gives its token, from 0 to 7200; 0 if it does not say."""
    life = whole_number(answer.get("expires_in")) or 0
    return max(0, min(life, LONGEST_LIFE))


class RefreshedGrant(NamedTuple):
    """An account's token through the platform, and the refresh token that is good from now on."""

    grant: Grant
    refresh_token: Secret


class Page(NamedTuple):
    """A part of the platform's list: refresh tokens by appid, and how many there are in all.

    ``items`` counts what the part holds, ``strangers`` with names that are no appids included.
    """

    tokens: dict[str, Secret]
    total: int
    items: int
    non_account_ids: tuple[str, ...]


def stable_body(appid: str, secret: Secret, *, force: bool = False) -> bytes:
    """Asks ``/cgi-bin/stable_token`` for the current token; by force for one that ends it."""
    return _json(
        grant_type="client_credential",
        appid=appid,
        secret=secret.reveal(),
        force_refresh=force,
    )


def legacy_query(appid: str, secret: Secret) -> dict[str, str | Secret]:
    """Asks ``/cgi-bin/token`` for a token that ends the one before."""
    return {"grant_type": "client_credential", "appid": appid, "secret": secret}


def component_body(appid: str, secret: Secret, ticket: Secret) -> bytes:
    """Asks ``api_component_token`` for the platform's own token."""
    return _json(
        component_appid=appid,
        component_appsecret=secret.reveal(),
        component_verify_ticket=ticket.reveal(),
    )


def refresh_body(platform: str, appid: str, refresh_token: Secret) -> bytes:
    """Asks ``api_authorizer_token`` for the token of an account that authorised the platform."""
    return _json(
        component_appid=platform,
        authorizer_appid=appid,
        authorizer_refresh_token=refresh_token.reveal(),
    )


def list_body(platform: str, offset: int) -> bytes:
    """Asks ``api_get_authorizer_list`` for a page."""
    return _json(component_appid=platform, offset=offset, count=PAGE)


def grant_of(status: int, body: bytes, member: str = "access_token") -> Grant | Refusal:
    """The token in an answer. Raises BadAnswer for anything but a token or an errcode.

    A life that is missing, negative or no number counts as 0, one beyond 7200 s as 7200.
    """
    answer = members_of(status, body)
    if isinstance(answer, Refusal):
        return answer
    token = answer.get(member)
    if not isinstance(token, str) or not token:
        raise BadAnswer("the answer has neither a token nor an errcode")
    return Grant(Secret(token), life_of(answer))


def refreshed_of(status: int, body: bytes) -> RefreshedGrant | Refusal:
    """The answer of ``api_authorizer_token``. Raises BadAnswer."""
    grant = grant_of(status, body, "authorizer_access_token")
    if isinstance(grant, Refusal):
        return grant
    refresh = grant_of(status, body, "authorizer_refresh_token")
    if isinstance(refresh, Refusal):
        raise BadAnswer("the answer has no refresh token")
    return RefreshedGrant(grant, refresh.token)


def page_of(status: int, body: bytes) -> Page | Refusal:
    """A page of ``api_get_authorizer_list``. Raises BadAnswer."""
    answer = members_of(status, body)
    if isinstance(answer, Refusal):
        return answer
    items, total = answer.get("list"), answer.get("total_count")
    if not isinstance(items, list) or not isinstance(total, int):
        raise BadAnswer("the answer is no list of authorised accounts")
    tokens: dict[str, Secret] = {}
    strangers: list[str] = []
    for item in items:
        appid = item.get("authorizer_appid") if isinstance(item, dict) else None
        token = item.get("refresh_token") if isinstance(item, dict) else None
        if not isinstance(appid, str) or not isinstance(token, str):
            continue
        # Whatever else may be on the platform, accounts with statistics are named like this.
        if is_appid(appid):
            tokens[appid] = Secret(token)
        else:
            strangers.append(appid)
    return Page(tokens, total, len(items), tuple(strangers))


def handed_of(body: bytes, member: str) -> Grant | Refusal:
    """What a command printed or a token server answered: one bare word, or JSON with the member.

    JSON may have ``expires_in`` too, or hand on WeChat's errcode. Raises BadAnswer for all else.
    """
    text = body.decode("utf-8-sig", errors="replace").strip()
    if text[:1] in ("{", '"', "["):
        return grant_of(200, text.encode(), member)
    if not text or not text.isprintable() or " " in text or text[0] == "<":
        raise BadAnswer("neither one word nor JSON")
    if len(text) > _LONGEST_TOKEN:
        raise BadAnswer("a word that is too long for a token")
    return Grant(Secret(text), 0)


def _json(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
