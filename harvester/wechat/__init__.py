"""Calls to WeChat: tokens, requests, one attempt at a time."""

__all__ = ["attempt", "auth", "official_pages", "quota_api", "transport"]
