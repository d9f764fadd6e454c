"""`harvester run` and `check` for accounts that got one token, because {appid} was ignored."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import permutations, product
from pathlib import Path

import duckdb
import pytest
from anyio.from_thread import start_blocking_portal

import harvester
from harvester.core.exit_codes import Exit
from harvester.core.model import bucket_of
from harvester.sandbox import Rules
from harvester.sandbox.server import serve
from tests.support.faulty_wechat import Fault, FaultyWeChat
from tests.support.nights import by_night, few_by_day
from tests.support.run_harness import (
    DAILY,
    HOURLY,
    appid,
    days_between,
    expected,
    published_rows,
)

ACCOUNTS = [appid(number) for number in (1, 5, 2)]
ALONE = appid(4)
TAIL = "c4n4ryT0ken"
LINE = re.compile(r"with (?P<price>\d+) requests: (?P<command>harvester run .*)$")

MANIFEST = """
api: {{base_url: "{address}"}}
defaults: {{credential: {credential}}}
accounts:
  - {{appid: {accounts[0]}, name: First}}
  - {{appid: {accounts[1]}, name: Second}}
  - {{appid: {accounts[2]}, name: Third}}
{more}
jobs:
  - {{datasets: [{dataset}], begin_date: {begin}, end_date: {end}}}
limits: {{per_token: {{rate: 20/s}}}}
output: {{path: output, buckets: 2}}
"""
FOURTH = f'  - {{appid: {ALONE}, credential: {{secret: "${{SECRET}}"}}}}'
CREDENTIALS = {
    "variable": '{token: "${file:tokens/{appid}}"}',
    "command": '{token_command: [cat, "tokens/{appid}"]}',
    "url": '{token_url: "URL/{appid}"}',
}
KINDS = list(product(["1", "2"], CREDENTIALS))
FEW_KINDS = [("1", "variable"), ("1", "command"), ("2", "url")]
MORE_RENEWALS = [("1", 20), ("1", 80), ("2", 80)]


class _TokenServer(ThreadingHTTPServer):
    """A token server that gives what ``token`` returns, by appid."""

    token: Callable[[str], str]


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer the token of the account in the path."""
        assert isinstance(self.server, _TokenServer)
        body = self.server.token(self.path.rpartition("/")[2]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Place:
    """A folder with a manifest, before a WeChat and a token server, each in a thread."""

    def __init__(self, folder: Path, world: FaultyWeChat, address: str, url: str) -> None:
        self.folder = folder
        self.world = world
        self._address, self._url = address, url
        (folder / "tokens").mkdir(mode=0o700)

    def write(self, credential: str, more: str = "", *days: str, dataset: str = DAILY) -> None:
        """Write a manifest for three accounts and ``more``; by default for ten days."""
        begin, end = days or ("2026-03-01", "2026-03-10")
        text = MANIFEST.format(
            address=self._address,
            credential=credential.replace("URL", self._url),
            accounts=ACCOUNTS,
            more=more,
            dataset=dataset,
            begin=begin,
            end=end,
        )
        (self.folder / "jobs.yaml").write_text(text)

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command; its output names no token and no digest."""
        done = subprocess.run(
            [sys.executable, "-m", "harvester", *words],
            cwd=self.folder,
            env={**os.environ, "SECRET": "s" * 32, "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
            check=False,
        )
        assert TAIL not in done.stdout + done.stderr
        return done

    def published(self, dataset: str = DAILY) -> set[str]:
        """Return the accounts that have rows."""
        if not (self.folder / "output" / dataset).exists():
            return set()
        rows = harvester.open(self.folder / "output").arrow(dataset).to_table(columns=["appid"])
        return set(rows.column("appid").to_pylist())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place in which each account gets the token of the first one."""
    with placed(tmp_path) as found:
        yield found


@contextmanager
def placed(
    folder: Path, token: Callable[[FaultyWeChat, str], str] | None = None
) -> Iterator[Place]:
    """Yield a place; ``token`` is what the token server gives an account."""
    world = FaultyWeChat(Rules(token_tail=TAIL), time.time)
    server = _TokenServer(("127.0.0.1", 0), _Answers)
    of = token or (lambda world, _: world.token_of(ACCOUNTS[0]))
    server.token = lambda account: of(world, account)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(serve(world)) as address,
        ):
            place = Place(folder, world, address, f"http://127.0.0.1:{server.server_address[1]}")
            for account in ACCOUNTS:
                (folder / "tokens" / account).write_text(of(world, account))
                (folder / "tokens" / account).chmod(0o600)
            yield place
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("processes", "kind"), few_by_day(KINDS, FEW_KINDS))
def test_one_token_for_three_accounts_publishes_no_row(
    place: Place, kind: str, processes: str
) -> None:
    """Each would get the numbers of the first one. The fourth account is harvested."""
    assert {bucket_of(account, 2) for account in ACCOUNTS} == {0, 1}
    place.write(CREDENTIALS[kind], FOURTH)
    done = place.call("run", "--processes", processes, "--summary", "summary.json")
    assert done.returncode == Exit.INCOMPLETE, done.stderr
    assert f"{ACCOUNTS[0]} First and " in done.stdout + done.stderr
    assert "have the same token" in done.stdout + done.stderr
    assert "Name {appid} in the credential" in done.stdout + done.stderr
    assert place.published() == {ALONE}
    record = json.loads((place.folder / "summary.json").read_text())
    assert record["reasons"] == ["refused"]
    assert {item["appid"] for item in record["exceptions"]} == set(ACCOUNTS)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_no_account_is_left(place: Place, processes: str) -> None:
    """The run ends as one in which each account was refused; the cause is one problem."""
    place.write(CREDENTIALS["url"])
    done = place.call("run", "--processes", processes, "--log-format", "json")
    assert done.returncode == Exit.UNAUTHORISED, done.stderr
    events = [json.loads(line) for line in done.stderr.splitlines()]
    problems = [event for event in events if event["event"] == "problem"]
    assert {problem["cause"] for problem in problems} == {"shared_token"}
    assert not place.published()
    assert not place.world.counters.paths.get("/datacube/getinterfacesummary")


def test_check_names_both_accounts(place: Place) -> None:
    """No data call is made for them. Of three accounts two whose commands end first are named."""
    place.write(CREDENTIALS["command"], FOURTH)
    done = place.call("check")
    assert done.returncode == Exit.INCOMPLETE, done.stderr
    named = map(" ".join, zip(ACCOUNTS, ("First", "Second", "Third"), strict=True))
    told = (f"{one} and {other} have the same token" for one, other in permutations(named, 2))
    assert any(each in done.stdout for each in told)


@pytest.mark.long
@pytest.mark.parametrize(("processes", "calls"), [("2", 20), *by_night(MORE_RENEWALS)])
def test_a_renewal_that_gives_the_token_of_another_account(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, calls: int, processes: str
) -> None:
    """Unpublished answers of both go to quarantine; asking for the rest again has its price."""
    first, second, third = ACCOUNTS
    is_renewed = threading.Event()

    def token(world: FaultyWeChat, account: str) -> str:
        return world.token_of(first if account == second and is_renewed.is_set() else account)

    with placed(tmp_path, token) as place:
        place.write(CREDENTIALS["url"], "", "2026-01-01", "2026-03-31", dataset=HOURLY)

        def renew() -> None:
            while place.world.counters.calls[second] < calls:
                time.sleep(0.005)
            is_renewed.set()
            place.world.fail(second, Fault(errcode=42001), times=1)

        threading.Thread(target=renew, daemon=True).start()
        done = place.call("run", "--processes", processes, "--summary", "summary.json")
        assert done.returncode == Exit.INCOMPLETE, done.stderr
        record = json.loads((tmp_path / "summary.json").read_text())
        assert record["reasons"] == ["quarantined", "refused"]
        assert {item["appid"] for item in record["quarantined"]} == {first, second}
        assert {item["appid"] for item in record["exceptions"]} == {first, second}
        # March is complete by then, and was published under the right names.
        assert place.published(HOURLY) == ({third} if calls == 20 else set(ACCOUNTS))
        published = published_rows(duck, tmp_path / "output", HOURLY)
        days = days_between("2026-01-01", "2026-03-31")
        assert set(published) <= set(expected(HOURLY, ACCOUNTS, days))
        lines = {
            (line["command"], line["price"])
            for item in record["exceptions"]
            if (line := LINE.search(item["advice"]))
        }
        assert len(lines) == int(processes)
        for command, price in lines:
            plan = place.call("plan", *command.split()[2:], "--format", "json")
            assert json.loads(plan.stdout)["requests"] == int(price)
