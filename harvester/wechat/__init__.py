"""Calls to WeChat: tokens, requests, one attempt at a time."""

__all__ = ["attempt", "auth", "quota_api", "transport"]
