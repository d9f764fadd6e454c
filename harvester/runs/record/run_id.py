"""Names of runs."""

from __future__ import annotations

import secrets

from harvester.core import calendar


def new_run_id(now: float) -> str:
    """Make a name that sorts by time: 20260131T235959Z-1a2b3c.

    The first three digits of its end are the fraction of the second, so that of two runs in a row
    the later one is the greater. The other three are random.
    """
    second = calendar.utc_text(now).replace("-", "").replace(":", "")
    return f"{second}-{int(now % 1 * 4096):03x}{secrets.randbelow(4096):03x}"
