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
    port: int = 8900,
    latency: float = 0.0,
    jitter: float = 0.0,
    minute_limit: int | None = None,
    daily_quota: int | None = None,
    rate_limit: int | None = None,
    fault_rate: float = 0.0,
    token_life: float = 7200.0,
    unauthorised: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
) -> int:
    """Serve the built-in WeChat emulator until a signal comes.

    Any appid of the right form exists, and the first secret it shows is its
    secret. Point a manifest's api.base_url, or any other client, to
    http://127.0.0.1:PORT.

    Exit codes:
      2              a mistake in the options, or the port is taken
      130, 143, 129  stopped by SIGINT, SIGTERM or SIGHUP

    Params:
        port: Listen on this port of 127.0.0.1; 0 takes a free one.
        latency: Seconds that every answer takes.
        jitter: Up to this many seconds more, at random.
        minute_limit: Calls a minute, per account and dataset; one more answers 45011.
        daily_quota: Calls a Beijing day, per account and dataset; one more answers 45009.
        rate_limit: Calls in any one second, per account; one more answers 45011.
        fault_rate: The share of calls that answer -1, from 0 to below 1.
        token_life: Seconds that a token lives.
        unauthorised: An account whose data calls answer 48001.
    """
    if not 0 <= fault_rate < 1:
        raise UsageError(
            "--fault-rate must be from 0 to below 1", "Write 0.1 to make a tenth of the calls fail."
        )
    rules = Rules(
        token_life=token_life,
        minute_limit=minute_limit,
        daily_quota=daily_quota,
        window_limit=None if rate_limit is None else (rate_limit, 1.0),
        latency=latency,
        latency_jitter=jitter,
        fault_rate=fault_rate,
    )
    server = FakeWeChat(rules, time.time)
    for appid in unauthorised:
        server.fail(appid, 48001)
    try:
        run(server, port=port, announce=_announce)
    except OSError as error:
        raise UsageError(
            f"cannot listen on port {port}: {error.strerror}", "Write --port 0 to take a free one."
        ) from None
    return 0


def _announce(address: str) -> None:
    with streams.stdout_output():
        print(f"WeChat sandbox at {address}")
