"""Where tokens come from: each account's own way to one."""

from __future__ import annotations

from harvester.wechat.auth.factory import TokenProviders
from harvester.wechat.auth.provider import (
    IssuedToken,
    Outcome,
    Rejection,
    TokenDenied,
    TokenProvider,
)

__all__ = ["IssuedToken", "Outcome", "Rejection", "TokenDenied", "TokenProvider", "TokenProviders"]
