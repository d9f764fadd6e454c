"""`harvester run` for three hundred accounts: AppSecrets, a token server, a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import pytest
from anyio.from_thread import start_blocking_portal

from harvester.cli import invoke
from harvester.core.exit_codes import Exit
from harvester.sandbox import Rules
from harvester.sandbox.server import serve
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.other_client import add_other_client
from tests.support.run_harness import DAILY, appid, days_between, expected, published_rows
from tests.support.secret_canary import leaks_in_files
from tests.wechat.auth.test_token_commands import runs

ACCOUNTS = [appid(number) for number in range(1, 301)]
MOUNTED, SERVED, PRINTED = ACCOUNTS[:100], ACCOUNTS[100:200], ACCOUNTS[200:]
KEY = "c4n4ry+/=&%"
TAIL = "c4n4ryT0ken+/=&%7E~x"
DAYS = ("2026-03-01", "2026-03-10")

MANIFEST = """
api: {{base_url: "{address}"}}
defaults:
  credential:
    token_url: "{url}/v1/{{appid}}"
    headers: {{Authorization: "Bearer ${{KEY}}"}}
accounts_file: {{path: accounts.csv, credentials: true}}
jobs:
  - {{datasets: [interface_summary], begin_date: 2026-03-01, end_date: 2026-03-10}}
"""


class TokenServer(ThreadingHTTPServer):
    """A company's central token server: it knows the token of every account, and who may ask."""

    # A hundred come at once. With the usual five the system lets the others knock for seconds.
    request_queue_size = 256

    def __init__(self, world: FaultyWeChat) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.world = world
        self.asked: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """The address that it listens on."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The token of the account in the path, for who has the key."""
        assert isinstance(self.server, TokenServer)
        account = self.path.rpartition("/")[2]
        self.server.asked[account] += 1
        allowed = self.headers["Authorization"] == f"Bearer {KEY}"
        body = self.server.world.token_of(account).encode() if allowed else b"no"
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def serving(world: FaultyWeChat) -> Iterator[tuple[str, TokenServer]]:
    """A WeChat and a token server, each in a thread."""
    server = TokenServer(world)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(serve(world)) as address,
        ):
            yield address, server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def world() -> FaultyWeChat:
    """A WeChat whose tokens are hard to quote, by this machine's clock."""
    return FaultyWeChat(Rules(token_tail=TAIL), time.time)


def write_accounts(folder: Path, world: FaultyWeChat) -> None:
    """Three hundred accounts: a mounted folder of secrets, the token server, a command."""
    for name in ("secrets", "tokens"):
        (folder / name).mkdir(mode=0o700)
    for account in MOUNTED:
        (folder / "secrets" / account).write_text(f"c4n4ry{account}{TAIL}")
    for account in PRINTED:
        (folder / "tokens" / account).write_text(world.token_of(account))
    lines = ["appid,secret,token_command"]
    lines += [f"{account},${{file:secrets/{{appid}}}}," for account in MOUNTED]
    lines += [f"{account},," for account in SERVED]
    lines += [f"{account},,cat tokens/{{appid}}" for account in PRINTED]
    (folder / "accounts.csv").write_text("\n".join(lines))


@pytest.mark.long
def test_three_hundred_accounts_by_one_line_each(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    duck: duckdb.DuckDBPyConnection,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A wrong key refuses a hundred of them and stops no other account; the right one mends it.

    Each account cost one question a run, and no token was ended or shown.
    """
    at = world()
    services = [add_other_client(at, account) for account in (MOUNTED[0], SERVED[0], PRINTED[0])]
    monkeypatch.chdir(tmp_path)
    with serving(at) as (address, server):
        write_accounts(tmp_path, at)
        (tmp_path / "jobs.yaml").write_text(MANIFEST.format(address=address, url=server.url))
        monkeypatch.setenv("KEY", "wrong+/=&%")
        assert invoke(["run", "jobs.yaml"]) == Exit.INCOMPLETE
        said = " ".join(capfd.readouterr().err.split())
        assert "the token server answered HTTP 401" in said
        assert server.asked == Counter(SERVED)
        assert published_rows(duck, tmp_path / "output", DAILY) == expected(
            DAILY, (*MOUNTED, *PRINTED), days_between(*DAYS)
        )
        monkeypatch.setenv("KEY", KEY)
        assert invoke(["run", "jobs.yaml"]) == Exit.DONE
    assert server.asked == Counter((*SERVED, *SERVED))
    assert at.counters.token_calls == Counter(MOUNTED)
    assert at.counters.errcodes == {}
    assert [service.broken for service in services] == [[], [], []]
    assert published_rows(duck, tmp_path / "output", DAILY) == expected(
        DAILY, ACCOUNTS, days_between(*DAYS)
    )
    printed = capfd.readouterr()
    assert "c4n4ry" not in printed.out + printed.err
    assert leaks_in_files(tmp_path / "output") == {}


HANGING = """
api: {{base_url: "{address}"}}
accounts:
  - appid: wx0000000000000001
    credential: {{token_command: [sh, -c, "echo $$ > started; sleep 600"], timeout: 10m}}
jobs:
  - {{datasets: [interface_summary], begin_date: 2026-03-01, end_date: 2026-03-10}}
"""


@pytest.mark.long
def test_a_signal_does_not_wait_for_a_command(tmp_path: Path) -> None:
    """SIGTERM ends the run in time, and the command with it."""
    with serving(world()) as (address, _):
        (tmp_path / "jobs.yaml").write_text(HANGING.format(address=address))
        command = [sys.executable, "-m", "harvester", "run", "jobs.yaml"]
        environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        with subprocess.Popen(
            command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True
        ) as run:
            started = tmp_path / "started"
            while not (started.exists() and started.read_text().endswith("\n")):
                assert run.poll() is None
                time.sleep(0.01)
            run.send_signal(signal.SIGTERM)
            _, err = run.communicate()
    assert run.returncode == Exit.SIGTERM, err
    deadline = time.monotonic() + 300
    while runs(int(started.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.01)
