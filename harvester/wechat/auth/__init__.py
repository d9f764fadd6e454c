"""Where tokens come from: each account's own way to one."""

from __future__ import annotations

from harvester.wechat.auth.factory import Office
from harvester.wechat.auth.provider import Denied, Doubt, Fresh, Outcome, Source

__all__ = ["Denied", "Doubt", "Fresh", "Office", "Outcome", "Source"]
