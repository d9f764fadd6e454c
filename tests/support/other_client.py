"""Another client of an account that harvester asks too: it notices if its token is ended."""

from __future__ import annotations

from harvester.sandbox import FakeWeChat, Reply, Request
from harvester.sandbox.call_faults import Refused
from harvester.sandbox.tokens import OVERLAP, Token, TokenServer


class OtherClient:
    """Does what WeChat tells services to do: gets a token, and another when it is about to end.

    ``broken`` has the moments at which the token that it held, and that was not about to end, was
    found to be worth nothing: another client has ended it.
    """

    def __init__(self, appid: str, tokens: TokenServer, *, legacy: bool = False) -> None:
        self._appid = appid
        self._tokens = tokens
        self._issue = tokens.plain if legacy else tokens.stable
        self._held: Token | None = None
        self.renewals = 0
        self.broken: list[float] = []

    def work(self, now: float) -> None:
        """Call WeChat with the token it has."""
        held = self._held
        if held is not None and held.left(now) > min(OVERLAP, held.life / 2):
            try:
                self._tokens.holder(held.text, now)
            except Refused:
                self.broken.append(now)
                held = None
        else:
            held = None
        if held is None:
            self._tokens.check_secret(self._appid)
            self._held = self._issue(self._appid, now)
            self.renewals += 1


def add_other_client(world: FakeWeChat, appid: str, *, legacy: bool = False) -> OtherClient:
    """Let another client of the account work now and after every call.

    It gets its tokens from stable_token, or a ``legacy`` one from the other endpoint.
    """
    client = OtherClient(appid, world.tokens, legacy=legacy)
    client.work(world._clock())
    alone = world.answer

    def answer(request: Request) -> Reply:
        reply = alone(request)
        client.work(world._clock())
        return reply

    vars(world)["answer"] = answer
    return client
