"""WeChat was never reached, for a cause on this machine's side: the run says it, and ends soon."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from harvester.cli import invoke
from harvester.core.exit_codes import Exit
from harvester.scheduling.retry_budget import GIVE_UP_SECONDS
from tests.support.fast_time import fast_time
from tests.support.fault_server import certificate, fault_server, http, say, silence
from tests.support.nights import by_night, few_by_day
from tests.support.run_harness import appid

FACTOR = 20.0
PAGE = b"<!DOCTYPE html><title>Sign in</title>"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n25\r\n%s\r\n0\r\n\r\n" % PAGE

MANIFEST = """
version: 1
api: {{base_url: "{url}", {more}}}
accounts:
  - {{appid: {one}, name: Acme, credential: {{secret: "${{CAUSES_SECRET}}"}}}}
  - {{appid: {two}, credential: {{secret: "${{CAUSES_SECRET}}"}}}}
jobs:
  - datasets: [interface_summary, interface_summary_hour]
    begin_date: -20d
output: out
"""


@contextmanager
def closed_port() -> Iterator[int]:
    """Yield a port on which nothing listens; bound, so that no other test's server gets it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


@contextmanager
def place(kind: str, folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the URL of such a WeChat, further keys of ``api``, and what a user should read."""
    answers = {
        "page": say(http(PAGE)),
        "chunked page": say(CHUNKED),
        "blocked": say(http(PAGE, status="403 Forbidden")),
        "sign-in": say(http(b"", status="302 Found", headers="Location: http://portal.test/x\r\n")),
        "login required": say(http(PAGE, status="511 Network Authentication Required")),
        "proxy wants a name": say(http(PAGE, status="407 Proxy Authentication Required")),
    }
    if kind == "closed":
        with closed_port() as port:
            yield f"http://127.0.0.1:{port}", "", f"127.0.0.1:{port}: connection refused"
    elif kind == "unknown":
        yield "https://wechat.invalid", "", "wechat.invalid:443: name not found"
    elif kind == "no proxy":
        with closed_port() as port:
            more = f'proxy: "http://127.0.0.1:{port}"'
            yield "https://wechat.invalid", more, f"127.0.0.1:{port}: connection refused (the proxy"
    else:
        tls = certificate(folder)[0] if kind == "certificate" else None
        with start_blocking_portal() as portal:
            serving = fault_server(answers.get(kind, silence), tls=tls)
            with portal.wrap_async_context_manager(serving) as server:
                said = {
                    "certificate": "certificate was not accepted (api.ca_file may name its",
                    "sign-in": "HTTP 302, a redirect to portal.test, which is not followed",
                    "proxy wants a name": "(api.proxy) does not let the call through: HTTP 407",
                }.get(kind, "HTML instead of JSON")
                if kind == "proxy wants a name":
                    yield "https://wechat.invalid", f'proxy: "{server.url}"', said
                else:
                    yield server.url, "", said


KINDS = (
    "closed",
    "unknown",
    "no proxy",
    "certificate",
    "page",
    "chunked page",
    "blocked",
    "sign-in",
    "login required",
    "proxy wants a name",
)


def write_manifest(folder: Path, url: str, more: str) -> Path:
    """Write a manifest of two accounts with forty requests."""
    file = folder / "jobs.yaml"
    file.write_text(MANIFEST.format(url=url, more=more, one=appid(1), two=appid(2)))
    return file


@pytest.mark.parametrize("kind", few_by_day(KINDS, ["closed", "page", "proxy wants a name"]))
def test_a_run_gives_up_early(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """75, the cause in the summary and in the record, and few calls."""
    monkeypatch.setenv("CAUSES_SECRET", "s" * 32)
    with place(kind, tmp_path) as (url, more, said), fast_time(FACTOR):
        manifest = write_manifest(tmp_path, url, more)
        record = tmp_path / "summary.json"
        code = invoke(["run", str(manifest), "--progress", "none", "--summary", str(record)])
    found = json.loads(record.read_text())
    assert code == Exit.AGAIN
    assert found["reasons"] == ["deferred"]
    # Of WeChat's own troubles a run waits for the end so long.
    assert found["seconds"] < GIVE_UP_SECONDS
    assert found["requests"] <= 20
    assert {why["errmsg"] for why in found["exceptions"] if said not in why["errmsg"]} == set()
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["closed", "page", *by_night(["unknown", "certificate"])])
def test_a_check_gives_up_early(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first accounts show what is the matter with all of them."""
    monkeypatch.setenv("CAUSES_SECRET", "s" * 32)
    with place(kind, tmp_path) as (url, more, said):
        manifest = write_manifest(tmp_path, url, f"timeout: 5s, {more}")
        many = "".join(
            f'  - {{appid: {appid(number)}, credential: {{secret: "${{CAUSES_SECRET}}"}}}}\n'
            for number in range(3, 301)
        )
        text = manifest.read_text().replace("jobs:\n", f"{many}jobs:\n")
        manifest.write_text(text + "limits: {connections: 10}\nretry: {initial_delay: 10ms}\n")
        assert invoke(["check", str(manifest), "--format", "json"]) == Exit.AGAIN
    found = json.loads(capsys.readouterr().out)
    assert found["no_answer"] == 300
    assert all(said in account["findings"][0]["errmsg"] for account in found["accounts"])
    # The first ten at once, each as often as any call is made that gets no answer.
    assert found["calls"] <= 2 * 3 * 10 + 2
