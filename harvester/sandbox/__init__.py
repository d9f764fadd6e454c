"""A WeChat to try things on: the datacube API with its tokens, limits and troubles, in one process.

`World` holds the rules, `harvester.sandbox.server` puts one on a socket (and alone needs aiohttp)::

    world = World(Rules(minute_limit=100), time.time)
    async with serve(world) as address:
        ...  # any client at all, talking to f"{address}/datacube/getinterfacesummary"
    assert world.counters.errcodes[45011] == 0
"""

from __future__ import annotations

from harvester.sandbox.call_faults import ANYONE, QUOTA, TOKEN, Fault, Wire
from harvester.sandbox.calls import Reply, Request
from harvester.sandbox.counters import AskedWindow, Counters
from harvester.sandbox.data import Row, expected_rows
from harvester.sandbox.data_faults import DataFault, Delayed, Late, Outage, Revised, Strays
from harvester.sandbox.limits import PeakLoad
from harvester.sandbox.rules import Rules
from harvester.sandbox.server_state import FakeWeChat

__all__ = [
    "ANYONE",
    "QUOTA",
    "TOKEN",
    "AskedWindow",
    "Counters",
    "DataFault",
    "Delayed",
    "FakeWeChat",
    "Fault",
    "Late",
    "Outage",
    "PeakLoad",
    "Reply",
    "Request",
    "Revised",
    "Row",
    "Rules",
    "Strays",
    "Wire",
    "expected_rows",
    "server",
]
