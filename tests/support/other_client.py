"""Another client of an account that harvester uses too; it notices if its token is ended."""

from __future__ import annotations

from harvester.sandbox.call_faults import Refused
from harvester.sandbox.calls import Reply, Request
from harvester.sandbox.tokens import OVERLAP, Token, TokenServer
from tests.support.faulty_wechat import FaultyWeChat


class OtherClient:
    """A client that gets a token, and a new one shortly before the token expires.

    ``broken`` has the moments at which a token that was not about to expire had stopped working,
    because another client ended it.
    """

    def __init__(self, appid: str, tokens: TokenServer, *, legacy: bool = False) -> None:
        self._appid = appid
        self._tokens = tokens
        self._issue = tokens.plain if legacy else tokens.stable
        self._held: Token | None = None
        self.renewals = 0
        self.broken: list[float] = []

    def work(self, now: float) -> None:
        """Use the token for one call, and renew it if necessary."""
        held = self._held
        if held is not None and held.left(now) > min(OVERLAP, self._tokens.life / 2):
            try:
                self._tokens.find(held.text, now)
            except Refused:
                self.broken.append(now)
                held = None
        else:
            held = None
        if held is None:
            self._held = self._issue(self._appid, now)
            self.renewals += 1


def add_other_client(wechat: FaultyWeChat, appid: str, *, legacy: bool = False) -> OtherClient:
    """Add another client of the account, which works now and after every call.

    It gets stable tokens, or plain ones from the older endpoint if it is ``legacy``.
    """
    client = OtherClient(appid, wechat.tokens, legacy=legacy)
    client.work(wechat.now())
    answer_alone = wechat.answer

    def answer(request: Request) -> Reply:
        reply = answer_alone(request)
        client.work(wechat.now())
        return reply

    vars(wechat)["answer"] = answer
    return client
