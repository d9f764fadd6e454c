"""``harvester sandbox``: the WeChat emulator as a server."""

from __future__ import annotations

import time
from typing import Annotated

from cyclopts import Parameter

from harvester.cli.output import streams
from harvester.core.errors import UsageError
from harvester.sandbox import FakeWeChat, Rules
from harvester.sandbox.server import run


def sandbox(
    *,
    port: Annotated[
        int, Parameter(help="Listen on this port of 127.0.0.1; 0 takes a free one.")
    ] = 8900,
    latency: Annotated[float, Parameter(help="Seconds every answer takes.")] = 0.0,
    jitter: Annotated[float, Parameter(help="Up to so many seconds more.")] = 0.0,
    minute_limit: Annotated[
        int | None, Parameter(help="Calls a minute, per account and dataset (45011).")
    ] = None,
    daily_quota: Annotated[
        int | None, Parameter(help="Calls a Beijing day, per account and dataset (45009).")
    ] = None,
    rate_limit: Annotated[
        int | None, Parameter(help="Calls in any one second, per account (45011).")
    ] = None,
    fault_rate: Annotated[float, Parameter(help="The share of calls that answer -1.")] = 0.0,
    token_life: Annotated[float, Parameter(help="Seconds a token lives.")] = 7200.0,
    unauthorised: Annotated[
        tuple[str, ...],
        Parameter(help="Accounts whose data calls answer 48001.", negative="", show_default=False),
    ] = (),
) -> int:
    """Serve the built-in WeChat emulator until interrupted.

    Any appid of the right form exists, and the first secret it shows is its secret. Point a
    manifest's api.base_url, or any other client, to http://127.0.0.1:PORT.
    """
    if not 0 <= fault_rate < 1:
        raise UsageError("--fault-rate is a share from 0 to below 1", "0.1 lets a tenth fail.")
    rules = Rules(
        token_life=token_life,
        minute_limit=minute_limit,
        daily_quota=daily_quota,
        window_limit=None if rate_limit is None else (rate_limit, 1.0),
        latency=latency,
        latency_jitter=jitter,
        fault_rate=fault_rate,
    )
    world = FakeWeChat(rules, time.time)
    for appid in unauthorised:
        world.fail(appid, 48001)
    try:
        run(world, port=port, announce=_announce)
    except OSError as error:
        raise UsageError(
            f"port {port} cannot be had: {error.strerror}", "--port 0 takes any free one."
        ) from None
    return 0


def _announce(address: str) -> None:
    with streams.stdout_output():
        print(f"WeChat sandbox at {address}")
