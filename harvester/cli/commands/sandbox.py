"""``harvester sandbox``: the WeChat emulator as a server."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from harvester.catalogue import CATALOGUE, matching, unknown_dataset
from harvester.cli.output import streams
from harvester.core.errors import UsageError
from harvester.core.text.inert_text import inert
from harvester.sandbox import ANYONE, QUOTA, TOKEN, FakeWeChat, Rules
from harvester.sandbox.server import run

_REFUSAL = re.compile(r"(-?[0-9]{1,9})(?::(.*))?", re.DOTALL)


def sandbox(
    *,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65_535))] = 8900,
    latency: float = 0.0,
    minute_limit: int | None = None,
    daily_quota: int | None = None,
    fault_rate: Annotated[float, Parameter(validator=Number(gte=0, lt=1))] = 0.0,
    token_life: float = 7200.0,
    unauthorised: Annotated[tuple[str, ...], Parameter(show_default=False)] = (),
    refuse: Annotated[
        tuple[str, ...], Parameter(show_default=False, allow_leading_hyphen=True)
    ] = (),
) -> None:
    """Serve the built-in WeChat emulator until a signal comes.

    Any appid of the right form exists, and the first secret it shows is its
    secret. Point a manifest's api.base_url, or any other client, to
    http://127.0.0.1:PORT.

    For example:
      harvester sandbox --port 8900 --minute-limit 60

    Exit codes:
      2              a mistake in the options, or the port is taken
      130, 143, 129  stopped by SIGINT, SIGTERM or SIGHUP

    Params:
        port: Listen on this port of 127.0.0.1; 0 takes a free one.
        latency: Seconds that every answer takes.
        minute_limit: Calls a minute, per account and dataset; one more answers 45011.
        daily_quota: Calls a Beijing day, per account and dataset; one more answers 45009.
        fault_rate: The share of calls that answer -1, from 0 to below 1.
        token_life: Seconds that a token lives.
        unauthorised: An account whose data calls answer 48001.
        refuse: CODE or CODE:NAME: the errcode of all data calls, or of a dataset, token or quota.
    """
    refusals = [refusal for text in refuse for refusal in _refusals(text)]
    rules = Rules(
        token_life=token_life,
        minute_limit=minute_limit,
        daily_quota=daily_quota,
        latency=latency,
        fault_rate=fault_rate,
    )
    server = FakeWeChat(rules, time.time)
    for appid in unauthorised:
        server.fail(appid, 48001)
    for code, target in refusals:
        server.fail(ANYONE, code, dataset=target)
    try:
        run(server, port=port, announce=_announce)
    except OSError as error:
        raise UsageError(
            f"cannot listen on port {port}: {error.strerror}", "write --port 0 to take a free one"
        ) from None


def _refusals(text: str) -> Iterator[tuple[int, str | None]]:
    """Yield the errcode and each target, None for all data, of a value of ``--refuse``."""
    found = _REFUSAL.fullmatch(text)
    if not found or int(found[1]) == 0:
        raise UsageError(
            f"--refuse: `{inert(text)}` begins with no errcode",
            "write 45009, or 45009:interface_summary for the calls of one dataset",
        )
    code, name = int(found[1]), found[2]
    if name is None or name in (TOKEN, QUOTA):
        yield code, name
        return
    datasets = matching(name)
    if not datasets:
        what, hint = unknown_dataset(name, (*CATALOGUE, TOKEN, QUOTA))
        raise UsageError(f"--refuse: {what}", hint)
    for dataset in datasets:
        yield code, dataset.name


def _announce(address: str) -> None:
    with streams.stdout_output():
        print(f"WeChat sandbox at {address}")
