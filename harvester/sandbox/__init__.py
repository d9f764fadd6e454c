"""An emulator of WeChat's datacube API with its tokens, limits and faults, in one process.

`FakeWeChat` has the rules; `harvester.sandbox.server` serves it over HTTP and alone needs aiohttp::

    wechat = FakeWeChat(Rules(minute_limit=100), time.time)
    async with serve(wechat) as address:
        ...  # any client that talks to f"{address}/datacube/getinterfacesummary"
    assert wechat.requests == 2
"""

from harvester.sandbox.call_faults import ANYONE, QUOTA, TOKEN
from harvester.sandbox.responses import rows_at
from harvester.sandbox.rules import Rules
from harvester.sandbox.server_state import FakeWeChat

__all__ = ["ANYONE", "QUOTA", "TOKEN", "FakeWeChat", "Rules", "rows_at", "server"]
