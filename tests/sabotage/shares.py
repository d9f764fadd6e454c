"""The mutations that may survive: a share of each room, and those that change nothing."""

from __future__ import annotations

SHARES = {
    "storage": 0.05,
    "scheduling": 0.05,
    "tables": 0.05,
    "runs": 0.05,
    "wechat": 0.05,
    "catalogue": 0.1,
    "cli": 0.1,
    "core": 0.1,
    "engine": 0.1,
    "manifest": 0.1,
    "planning": 0.1,
    "readers": 0.1,
    "root": 0.1,
    "sandbox": 0.1,
    "verbs": 0.1,
}
"""The share of survivors by room. It may only fall."""

EQUIVALENT: dict[tuple[str, str, str], str] = {}
"""Lines of a file as they are and as mutations leave them, with why both behave alike."""
