"""Pages of WeChat's documentation, fetched or read from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import aiohttp

MAX_PAGE = 2 << 20
"""Bytes of a page at most; the longest of 2026 has 20 KiB."""

_SECONDS = 30.0
_MAX_REDIRECTS = 3
_REDIRECTS = {301, 302, 303, 307, 308}
_GONE = {404, 410}


class Pages(NamedTuple):
    """Texts by name, None for a page that is gone; and reasons by name of pages not fetched."""

    texts: dict[str, str | None]
    unread: dict[str, str]


class _NotFetched(Exception):
    """A page could not be fetched now."""


async def fetch_pages(addresses: Mapping[str, str]) -> Pages:
    """Fetch pages one after the other. A redirect is followed only to the same origin."""
    pages = Pages({}, {})
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(
        timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        for name, address in addresses.items():
            try:
                pages.texts[name] = await _fetch(session, address)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError, _NotFetched) as error:
                pages.unread[name] = str(error) or type(error).__name__
    return pages


def read_pages(folder: Path, addresses: Mapping[str, str]) -> Pages:
    """Read saved pages, each under the last part of its address. Raises OSError."""
    pages = Pages({}, {})
    for name, address in addresses.items():
        file = folder / address.rpartition("/")[2]
        try:
            with file.open("rb") as page:
                pages.texts[name] = _text(page.read(MAX_PAGE))
        except FileNotFoundError:
            pages.texts[name] = None
    return pages


async def _fetch(session: aiohttp.ClientSession, address: str) -> str | None:
    origin = urlsplit(address)[:2]
    for _ in range(_MAX_REDIRECTS + 1):
        async with session.get(address, allow_redirects=False) as answer:
            if answer.status in _GONE:
                return None
            if answer.status == 200:
                return _text(await _body(answer))
            if answer.status not in _REDIRECTS:
                raise _NotFetched(f"HTTP {answer.status}")
            address = urljoin(address, answer.headers.get("Location", ""))
        if urlsplit(address)[:2] != origin:
            raise _NotFetched("a redirect to another host")
    raise _NotFetched("too many redirects")


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in answer.content.iter_chunked(1 << 16):
        body += part
        if len(body) > MAX_PAGE:
            raise _NotFetched(f"longer than {MAX_PAGE} bytes")
    return bytes(body)


def _text(body: bytes) -> str:
    return body.decode("utf-8-sig", "replace")
