"""Fetching WeChat's documentation, from a server with every fault."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tools.catalogue.page_download import MAX_PAGE, Pages, fetch_pages, read_pages

Answer = Callable[[web.BaseRequest], web.StreamResponse]


@asynccontextmanager
async def serving(answers: dict[str, Answer]) -> AsyncIterator[str]:
    """Serve one answer a path; yields the address."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return answers[request.path](request)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def fetched(answer: Answer, **others: Answer) -> Pages:
    """The result of fetching one page."""
    async with serving({"/a.md": answer, **{f"/{p}": a for p, a in others.items()}}) as address:
        return await fetch_pages({"a": f"{address}/a.md"})


def to(target: str, status: int = 302) -> Answer:
    """An answer that redirects."""
    return lambda _: web.Response(status=status, headers={"Location": target})


def text(words: str) -> Answer:
    """An answer with a page."""
    return lambda _: web.Response(body=words.encode("utf-8"), content_type="text/plain")


async def test_a_page_is_fetched() -> None:
    """UTF-8 is assumed whatever the server says, and a byte order mark is dropped."""
    assert await fetched(text("\ufeff# 获取")) == Pages({"a": "# 获取"}, {})


@pytest.mark.parametrize("status", [404, 410])
async def test_a_page_may_be_gone(status: int) -> None:
    """A page that is gone is an answer, since fetching it again gives no other."""
    assert await fetched(lambda _: web.Response(status=status)) == Pages({"a": None}, {})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_within_the_site_is_followed(status: int) -> None:
    """The page may move on the same host."""
    pages = await fetched(to("/b", status), b=text("moved"))
    assert pages == Pages({"a": "moved"}, {})


async def test_another_host_is_never_asked() -> None:
    """A redirect to another origin is not followed, be it only another port or scheme."""
    asked = []

    def other(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response()

    async with serving({"/x": other}) as elsewhere:
        for target in (
            f"{elsewhere}/x",
            elsewhere.replace("http:", "https:"),
            "file:///etc/passwd",
        ):
            pages = await fetched(to(target))
            assert pages == Pages({}, {"a": "a redirect to another host"})
    assert asked == []


FAULTS: list[tuple[str, Answer, str]] = [
    ("an error", lambda _: web.Response(status=503), "HTTP 503"),
    ("a circle", to("/a.md"), "too many redirects"),
    ("too long", text("x" * (MAX_PAGE + 1)), f"longer than {MAX_PAGE} bytes"),
]


@pytest.mark.parametrize(("answer", "reason"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
async def test_a_page_that_is_not_fetched_has_a_reason(answer: Answer, reason: str) -> None:
    """It is neither a page nor gone, and the others are fetched all the same."""
    async with serving({"/a.md": answer, "/b.md": text("page")}) as address:
        pages = await fetch_pages({"a": f"{address}/a.md", "b": f"{address}/b.md"})
    assert pages == Pages({"b": "page"}, {"a": reason})


async def test_an_unreachable_host_is_a_reason() -> None:
    """A refused connection ends nothing."""
    async with serving({}) as address:
        pass
    pages = await fetch_pages({"a": f"{address}/a.md"})
    assert pages.texts == {}
    assert "Cannot connect" in pages.unread["a"]


def test_a_folder_is_read(tmp_path: Path) -> None:
    """A page is under the last part of its address; a file that is missing is a page gone."""
    (tmp_path / "api_a.md").write_bytes(b"\xff\xfe page")
    pages = read_pages(tmp_path, {"a": "https://x/user/api_a.md", "b": "https://x/api_b.md"})
    assert pages == Pages({"a": "\ufffd\ufffd page", "b": None}, {})
