"""Access tokens: one provider for each kind of credential, and one cache over all of them."""

from __future__ import annotations

from harvester.wechat.auth.provider import TokenDenied
from harvester.wechat.auth.token_providers import TokenProviders

__all__ = ["TokenDenied", "TokenProviders"]
