"""Error codes of WeChat: for each its meaning, the action, the scope, and advice for the operator.

Sources are WeChat's lists of return codes, the error lists of the datacube pages and codes that
clients received, checked on 2026-11-25. ``harvester explain CODE`` prints a row.

The HTTP statuses 404 and 412 are among the codes: WeChat sends them for a wrong path and for a body
without Content-Length, and a retry cannot help.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from harvester.core.rule import Action, Rule, Scope
from harvester.core.text.wording import said

_WAIT = "This run or a later one asks again; if it lasts for hours, look for news from WeChat."
_BUG = "This is a fault of harvester: report it with the code and WeChat's message."
_CONSOLE = "Look for the reason in the account's console at mp.weixin.qq.com."
_SECRET = "Compare the AppSecret with the account's console; a reset makes the old one invalid."
_OUTGOING = "this machine's outgoing address, which `curl https://ifconfig.me` shows,"
_ALLOW_LIST = (
    f"Add {_OUTGOING} to the account's IP allow-list in the console, or send the calls through a "
    "proxy with a fixed address (api.proxy)."
)
_PLATFORM_ALLOW_LIST = (
    f"Add {_OUTGOING} to the platform's IP allow-list in the console of the open platform, or send "
    "the calls through a proxy with a fixed address (api.proxy)."
)
_NOT_ALLOWED = 40164
_ADDRESS = re.compile(r"invalid ip ([0-9a-fA-F.:]{3,45})")
_ADD_ADDRESS = (
    "Add {address} to the account's IP allow-list (developers.weixin.qq.com/platform: 我的业务, "
    "the account, 基础信息, 开发密钥, API IP 白名单), or send the calls through a proxy with a "
    "fixed address (api.proxy)."
)
_SHARED_TOKEN = (
    "If it comes often, another service fetches tokens with /cgi-bin/token: let it use "
    "/cgi-bin/stable_token as well."
)
_MOVED = "Check api.base_url; if it is right, WeChat has moved this API."
_CONFIRM = "Ask an administrator of the account to confirm the request in WeChat, then run again."
_REAUTHORISE = "Let an administrator of the account authorise the third-party platform again."
_VERIFY = "Only verified accounts have statistics: verify it, or take the dataset off its jobs."
_UNAUTHORISED = (
    "Verify the account and open the feature in its console; see that its credential is not that "
    "of a Mini Program; if a platform makes the calls, grant it the permission set."
)
_BASE_URL = (
    "Check api.base_url; if it is https://api.weixin.qq.com, this is a fault of harvester: report "
    "it with the code and WeChat's message."
)
_PERMISSIONS = (
    "Let the account grant the platform the permission set of this dataset: user analysis 2, "
    "article 7, message 1, interface 3."
)
_TICKET = "Start the push with api_start_push_ticket, wait ten minutes for a ticket, run again."
_TOMORROW = "Run again after midnight in Beijing"
_RID = "Ask within seven days for the rid of a call of this account."
_QUOTA = "Nothing to do: the quota of this API stays unknown, and the manifest's limits apply."
_PLATFORM_SECRET = (
    "Compare platform.secret with the console of the open platform; a reset ends the old one."
)

_Table: TypeAlias = dict[tuple[Action, Scope], dict[tuple[int, ...], tuple[str, str]]]

_DATA: _Table = {
    (Action.RETRY, Scope.WINDOW): {
        (-1, -1000): ("WeChat is busy", _WAIT),
        (61450, 268487001, 268487002): ("a fault inside WeChat", _WAIT),
    },
    (Action.SLOW_DOWN, Scope.ACCOUNT): {
        (45011,): (
            "the account made more calls in this minute than it may",
            "Nothing to do; if it comes often, lower limits.per_token.rate.",
        )
    },
    (Action.NOT_READY, Scope.WINDOW): {
        (61503,): (
            "the data of these days is not ready",
            "Run again later in the day: most days are ready at 10:00 in Beijing.",
        )
    },
    (Action.SPLIT, Scope.WINDOW): {
        (61501,): (
            "the days are too many, too early or not over yet",
            "If WeChat has shortened the span of this API, set datasets.NAME.span in the manifest.",
        )
    },
    (Action.REFRESH_TOKEN, Scope.ACCOUNT): {
        (40001, 40014, 42001): (
            "the token is invalid, expired or replaced by a newer one",
            _SHARED_TOKEN,
        )
    },
    (Action.WAIT_FOR_QUOTA, Scope.ACCOUNT_DATASET): {
        (45009,): (
            "the daily quota of this API is spent",
            f"{_TOMORROW}; `harvester check` asks WeChat for the quota, for limits.daily_quota.",
        ),
        (48006,): (
            "the quota was reset as often as it may be in a month",
            f"{_TOMORROW}, and do not count on clear_quota.",
        ),
    },
    (Action.STOP, Scope.ACCOUNT_DATASET): {
        (48001,): ("the account may not use this API", _UNAUTHORISED),
        (43001,): ("the call must be a GET", _BASE_URL),
        (43003,): ("the call must be made over HTTPS", _BASE_URL),
        (61052,): ("the account must be verified for this API", _VERIFY),
        (61007,): ("the platform lacks the permission set of this API", _PERMISSIONS),
        (61016, 61017): ("the permission set of this API is not confirmed", _PERMISSIONS),
        (61502,): (
            "an account of this kind has no such statistics",
            "Take the dataset off the account's jobs.",
        ),
    },
    (Action.STOP, Scope.ACCOUNT): {
        (40013,): (
            "there is no account with this appid",
            "Compare the appid with the account's console, letter by letter.",
        ),
        (40125,): ("the AppSecret is wrong", _SECRET),
        (40090, 40164): (
            "this machine's address is not on the account's IP allow-list",
            _ALLOW_LIST,
        ),
        (45035, 61004): (
            "this machine's address is not on the IP allow-list of the account or its platform",
            _ALLOW_LIST,
        ),
        (40200,): (
            "an account of this kind has no such API",
            "Take it out of the manifest: only service and subscription accounts have statistics.",
        ),
        (40243,): (
            "the AppSecret is frozen",
            "Unfreeze or reset the AppSecret in the account's console.",
        ),
        (48004,): ("WeChat has banned the account from this API", _CONSOLE),
        (50001,): (
            "the account has not authorised this API",
            "Grant the permission in the account's console, or authorise the platform again.",
        ),
        (50002, 50007): ("the account is restricted, frozen or closed", _CONSOLE),
        (50003,): ("the account is not on WeChat's list of those that may use this API", _CONSOLE),
        (50004,): ("the account may not fetch tokens", _CONSOLE),
        (49001,): (
            "the token belongs to another appid",
            "See that the account's credential hands out the tokens of this account, not another.",
        ),
        (89501,): ("an earlier request still waits for an administrator to confirm it", _CONFIRM),
        (89503,): ("an administrator must confirm calls from this address", _CONFIRM),
        (89506,): (
            "an administrator refused calls from this address for 24 hours",
            "Wait 24 hours, have the calls confirmed, and run again.",
        ),
        (89507,): (
            "an administrator refused calls from this address for an hour",
            "Wait an hour, have the calls confirmed, and run again.",
        ),
        (42007,): ("a changed password ended the account's authorisations", _REAUTHORISE),
        (61003,): ("the account has not authorised the platform", _REAUTHORISE),
        (40091, 61005, 61006): ("the platform's ticket is expired or invalid", _TICKET),
        (40094,): ("the platform's appid or secret is not accepted", _PLATFORM_SECRET),
        (61000, 61001): (
            "the third-party platform is of a kind that may not make this call",
            "Look up the platform's type in the console of the open platform.",
        ),
        (61009, 61010): ("the authorisation code is expired or invalid", _REAUTHORISE),
        (61011,): (
            "there is no such third-party platform",
            "Compare the component_appid with the console of the open platform.",
        ),
        (61014, 61015, 61024): ("a token of the wrong kind was sent", _BUG),
        (40030, 42002, 61023): (
            "the platform's refresh token is invalid or expired",
            _REAUTHORISE,
        ),
        (61028,): (
            "the third-party platform is not published",
            "Publish the platform in the console of the open platform.",
        ),
    },
    (Action.STOP, Scope.WINDOW): {
        (40097, 61451): ("a parameter was not accepted", _BUG),
        (41001,): ("the token was missing", _BUG),
        (41003,): ("the refresh token was missing", _BUG),
        (43002,): ("the call must be a POST", _BUG),
        (44002,): ("the body did not arrive", _BUG),
        (47001,): ("the body was not understood", _BUG),
        (61500,): ("a date was not spelled as WeChat wants it", _BUG),
        (76001, 76002, 76003, 76004): ("nothing is known of this rid", _RID),
        (76021,): ("the quota was asked of a path that is no API", _QUOTA),
        (76022,): ("the account has no quota for this API", _QUOTA),
    },
    (Action.STOP, Scope.DATASET): {
        (404,): ("WeChat has no such path (HTTP 404)", _MOVED),
        (40066,): ("WeChat does not accept the address of the call", _MOVED),
        (412,): (
            "the body arrived without a length (HTTP 412)",
            "Look for a proxy that cuts bodies into chunks (api.proxy).",
        ),
        (47009,): (
            "WeChat has taken this API offline",
            "Take the dataset out of the jobs; a newer harvester may know what replaces it.",
        ),
    },
}

_TOKEN: _Table = {
    (Action.STOP, Scope.ACCOUNT): {
        (40001,): ("the AppSecret is wrong", _SECRET),
        (40002,): ("the kind of grant was not accepted", _BUG),
        (40014, 42001): (
            "the token that was handed over is not accepted any more",
            "Hand over a fresh token, or give the account its AppSecret instead.",
        ),
        (41002,): ("the appid was missing", _BUG),
        (41004,): (
            "the AppSecret was missing",
            "Check that the variable or file the credential names is not empty.",
        ),
    },
    (Action.WAIT_FOR_QUOTA, Scope.ACCOUNT): {
        (45009,): (
            "the daily quota of token calls is spent",
            f"{_TOMORROW}, and find out who else fetches this account's tokens so often.",
        )
    },
}

_PLATFORM: _Table = {
    (Action.STOP, Scope.ACCOUNT): {
        (40001, 40014, 42001): (
            "the platform's component token is not accepted",
            "Hand over a fresh one, or give the platform its secret and verify_ticket.",
        ),
        (40013,): (
            "there is no platform with this appid",
            "Compare platform.appid with the console of the open platform, letter by letter.",
        ),
        (40125,): ("the platform's secret is wrong", _PLATFORM_SECRET),
        (40090, 40164, 61004): (
            "this machine's address is not on the platform's IP allow-list",
            _PLATFORM_ALLOW_LIST,
        ),
    }
}

_UNKNOWN = Rule(
    Action.STOP,
    Scope.WINDOW,
    "a code that is not in harvester's table",
    "Look it up in WeChat's list of return codes, and report it with WeChat's message.",
)


_REPEATS = {50002: 1}
"""Codes that were seen to come and go within minutes, with the repeats before they count."""


def _by_code(table: _Table) -> dict[int, Rule]:
    return {
        code: Rule(action, scope, meaning, advice, _REPEATS.get(code, 0))
        for (action, scope), rows in table.items()
        for codes, (meaning, advice) in rows.items()
        for code in codes
    }


DATA_RULES: Mapping[int, Rule] = _by_code(_DATA)
"""Rules of the codes in answers to data calls."""

TOKEN_RULES: Mapping[int, Rule] = _by_code(_TOKEN)
"""Rules of the codes with another meaning in answers of the token endpoint."""

PLATFORM_RULES: Mapping[int, Rule] = _by_code(_PLATFORM)
"""Rules of the codes with another meaning in answers to a third-party platform."""

INTERNAL_ERROR_RULE = Rule(
    Action.STOP,
    Scope.WINDOW,
    "harvester itself made a mistake",
    "Report it with the line in the log that says where; all else went on.",
)
"""Rule for a window whose request ended in an exception that is a bug in harvester."""


def rule_for(errcode: int) -> Rule:
    """Return the rule of a data call's error code; an unknown code stops only its window."""
    return DATA_RULES.get(errcode, _UNKNOWN)


def token_rule_for(errcode: int, errmsg: str = "") -> Rule:
    """Return the rule of the token endpoint's error code.

    Its scope is the account, because no dataset can be fetched without a token. For a rejected
    address the advice names the address that ``errmsg`` contains.
    """
    rule = TOKEN_RULES.get(errcode) or rule_for(errcode)
    if rule.action in (Action.NOT_READY, Action.SPLIT):
        # These codes are about days, which a request for a token has none of.
        rule = _UNKNOWN
    address = _ADDRESS.search(errmsg) if errcode == _NOT_ALLOWED else None
    advice = said(_ADD_ADDRESS, address=address[1]) if address else rule.advice
    return rule._replace(scope=Scope.ACCOUNT, advice=advice)


def platform_rule_for(errcode: int, errmsg: str = "") -> Rule:
    """Return the rule of an error code for an account whose token comes through a platform."""
    return PLATFORM_RULES.get(errcode) or token_rule_for(errcode, errmsg)


def is_known(errcode: int) -> bool:
    """Return whether a table has the code."""
    return errcode in DATA_RULES or errcode in TOKEN_RULES
