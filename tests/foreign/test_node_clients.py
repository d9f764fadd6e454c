"""Clients by others, co-wechat-api and node-easywechat, as they come from npm, against the sandbox.

Their versions are those of package-lock.json beside this file. ``npm ci --prefix tests/foreign``
installs them; without them, or without Node, the tests are skipped, and fail if
HARVESTER_REQUIRE_NODE is set.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import day_text
from harvester.core.exit_codes import Exit
from harvester.sandbox import Rules
from harvester.sandbox.data import Row
from tests.support.cli import JobScope, command_line
from tests.support.faulty_wechat import Fault, FaultyWeChat
from tests.support.run_harness import appid, days_between, flat_rows, published_rows
from tests.support.sandboxes import serve_in_thread

# Read here, because no test sees the variables of harvester.
REQUIRED = os.environ.get("HARVESTER_REQUIRE_NODE", "") not in {"", "0"}
HERE = Path(__file__).parent
CLIENTS = ("co-wechat-api", "node-easywechat")
DAYS = days_between("2026-06-01", "2026-06-07")
"""A week and a month begin with the first of them."""

ARTICLES = {name for name, dataset in CATALOGUE.items() if dataset.may_be_delayed}
"""The newest datasets, which co-wechat-api does not know."""


def _missing() -> str:
    """Return the reason why the tests cannot run, or an empty text."""
    if shutil.which("node") is None:
        return "there is no node"
    absent = [name for name in CLIENTS if not (HERE / "node_modules" / name).is_dir()]
    return f"npm ci --prefix tests/foreign did not install {absent}" if absent else ""


@pytest.fixture
def node() -> None:
    """Skip without the clients, or fail if they are required: CI may not skip them."""
    missing = _missing()
    if missing and REQUIRED:
        pytest.fail(f"HARVESTER_REQUIRE_NODE is set, but {missing}")
    if missing:
        pytest.skip(missing)


def ask(client: str, folder: Path, address: str, calls: list[list[str]]) -> list[Any]:
    """Return the rows that a client gets for each call, None where it has no method."""
    plan = {"address": address, "appid": appid(1), "secret": "s", "calls": calls}
    done = subprocess.run(
        ["node", HERE / "ask.js", client],
        cwd=folder,
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers


def by_dataset(client: str, folder: Path, address: str) -> dict[str, list[Row]]:
    """Return all rows that a client gets of each dataset that it knows, one call per day."""
    plan = [(name, day) for name in CATALOGUE for day in DAYS]
    calls = [[CATALOGUE[name].api, day_text(day), day_text(day)] for name, day in plan]
    found: dict[str, list[Row]] = {}
    for (name, _), rows in zip(plan, ask(client, folder, address, calls), strict=True):
        if rows is not None:
            found.setdefault(name, []).extend(rows)
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("node")
def test_the_clients_get_the_rows_that_harvester_writes(
    tmp_path: Path,
    duck: duckdb.DuckDBPyConnection,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of each dataset that a client knows, value for value; prints the table of their counts."""
    monkeypatch.setenv("COMMANDS_SECRET", "s")
    world = FaultyWeChat(Rules(), time.time)
    scope = JobScope(["all"], day_text(DAYS[0]), day_text(DAYS[-1]), accounts=1)
    with command_line(tmp_path, scope, world, capsys) as command, serve_in_thread(world) as address:
        assert command("run").code == Exit.DONE
        told = {client: by_dataset(client, tmp_path, address) for client in CLIENTS}
    counts: list[list[object]] = [["dataset", "harvester", *CLIENTS]]
    for name, dataset in CATALOGUE.items():
        written = published_rows(duck, command.output, name)
        assert written, name
        counts.append([name, len(written)])
        for client in CLIENTS:
            rows = sorted(flat_rows(dataset, appid(1), told[client].get(name, [])))
            assert rows == written or name not in told[client], (client, name)
            counts[-1].append(len(rows))
    assert set(CATALOGUE) - told["co-wechat-api"].keys() == ARTICLES
    assert told["node-easywechat"].keys() == CATALOGUE.keys()
    with capsys.disabled():
        for line in counts:
            sys.stdout.write("{:28}{:>10}{:>16}{:>18}\n".format(*line))


@pytest.mark.slow
@pytest.mark.usefixtures("node")
def test_a_client_renews_its_token(tmp_path: Path) -> None:
    """co-wechat-api takes 40001 for what it is, fetches another token and gets its rows."""
    world = FaultyWeChat(Rules(), time.time)
    world.fail(appid(1), 40001, times=1)
    with serve_in_thread(world) as address:
        [rows] = ask(
            CLIENTS[0], tmp_path, address, [["getusersummary", "2026-06-01", "2026-06-01"]]
        )
    assert rows
    assert world.counters.token_calls == {appid(1): 2}


@pytest.mark.slow
@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("client", CLIENTS)
def test_the_clients_understand_refusals(client: str, tmp_path: Path) -> None:
    """Both read the words of a refusal, as the emulator writes them."""
    world = FaultyWeChat(Rules(), time.time)
    world.fail(appid(1), Fault(errcode=48001))
    with (
        serve_in_thread(world) as address,
        pytest.raises(AssertionError, match="Error: api unauthorized rid"),
    ):
        ask(client, tmp_path, address, [["getusersummary", "2026-06-01", "2026-06-01"]])


def test_the_lock_file_pins_versions_and_no_host() -> None:
    """Packages are named exactly, with their digests, and come from the registry of the machine."""
    text = (HERE / "package-lock.json").read_text("utf-8")
    wanted = json.loads((HERE / "package.json").read_text("utf-8"))["dependencies"]
    # Later versions of node-socialite lack files that node-easywechat loads.
    assert set(wanted) == {*CLIENTS, "node-socialite"}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    packages = {path: one for path, one in json.loads(text)["packages"].items() if path}
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())
    assert '"resolved"' not in text
