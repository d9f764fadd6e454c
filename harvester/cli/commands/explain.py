"""``harvester explain``: the meaning of an errcode of WeChat."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from harvester.catalogue.error_codes import is_known, rule_for, token_rule_for
from harvester.catalogue.languages import rule_in
from harvester.cli.options import Format, Lang, language_of
from harvester.cli.output.answers import answer
from harvester.cli.output.terminal import Terminal
from harvester.core.rule import Action, Rule
from harvester.core.text.wording import entry, said

DOES = {
    Action.RETRY: "repeats the request later, a bounded number of times",
    Action.REFRESH_TOKEN: "fetches another token and repeats the request once",
    Action.SLOW_DOWN: "leaves the account alone until the next minute; no attempt is counted",
    Action.SPLIT: "asks fewer days at once",
    Action.NOT_READY: "asks the days before the newest one, and that one in a later run",
    Action.WAIT_FOR_QUOTA: "asks no more until the next day in Beijing",
    Action.STOP: "asks no more",
}
"""The reaction of a run to a code, by the action of its rule."""


def explain(
    code: Annotated[int, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    format: Format = "text",
    lang: Lang = None,
) -> None:
    """Explain an errcode of WeChat: its meaning, what a run does, and what to do.

    For example:
      harvester explain 45009

    Exit codes:
      0   explained, also if the code is unknown
      2   the text is no number

    Params:
        code: An errcode, such as 45009 or -1.
    """
    language = language_of(lang, format)
    data, token = (rule_in(rule, language) for rule in (rule_for(code), token_rule_for(code)))
    found = {"errcode": code, "known": is_known(code), "data": data, "token": token}
    answer(format, lambda: found, lambda out: _print_rules(out, code, data, token), language)


def _print_rules(out: Terminal, errcode: int, data: Rule, token: Rule) -> None:
    """Print the rule for a data call, and the rule for a token call unless it is the same."""
    heading = entry(str(errcode), data.meaning)
    if not is_known(errcode):
        heading = said("{name} is {about}", name=errcode, about=data.meaning)
    _print_rule(out, heading, data)
    if token != data:
        heading = said("to a call for a token: {about}", about=token.meaning)
        _print_rule(out, heading, token, gap=True)


def _print_rule(out: Terminal, heading: str, rule: Rule, *, gap: bool = False) -> None:
    does = said(DOES[rule.action])
    if rule.repeats:
        does = said("repeats the request once after a delay, then {does}", does=does)
    out.say(heading, gap=gap, style="heading")
    scope = said(rule.scope.value)
    out.say_pairs({said("a run"): does, said("scope"): scope, said("advice"): rule.advice})
