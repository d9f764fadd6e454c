"""`harvester run` for three hundred accounts that authorised one platform, killed under way too."""

from __future__ import annotations

import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest
from anyio.from_thread import start_blocking_portal

import harvester
from harvester.cli import invoke
from harvester.core.exit_codes import Exit
from harvester.sandbox import TOKEN, Rules
from harvester.sandbox.server import serve
from tests.support.emulated_platform import AUTHORIZER_TOKEN_PATH, COMPONENT_TOKEN_PATH
from tests.support.faulty_wechat import FaultyWeChat, refresh_token_of
from tests.support.run_harness import DAILY, appid, days_between, expected, published_rows
from tests.support.secret_canary import leaks_in_files

PLATFORM = "wx00000000000000ff"
SECRET = "c4n4ryPlatform+/=&%"
ACCOUNTS = [appid(number) for number in range(1, 301)]
DAYS = ("2026-03-01", "2026-03-10")

MANIFEST = """
api: {{base_url: "{address}"}}
platform:
  appid: wx00000000000000ff
  secret: "${{PLATFORM_SECRET}}"
  verify_ticket: "${{file:ticket}}"
  sink: {{file: "refresh/{{appid}}"}}
{accounts}
jobs:
  - {{datasets: [interface_summary], begin_date: 2026-03-01, end_date: 2026-03-10}}
limits: {{connections: 16}}
"""
FROM_THE_PLATFORM = """
accounts_from: platform
defaults: {owns_tokens: true}
"""
FROM_A_FILE = """
accounts_file: accounts.csv
defaults: {owns_tokens: true, credential: {refresh_token: "${file:first/{appid}}"}}
"""


@contextmanager
def platform_world(folder: Path, accounts: str = FROM_THE_PLATFORM) -> Iterator[FaultyWeChat]:
    """A WeChat in a thread, with a platform that three hundred accounts have authorised.

    They stand in a file, too, with the refresh token that each had in the beginning.
    """
    rules = Rules(latency=0.005, token_tail="c4n4ryT0ken+/=&%7E~x")
    world = FaultyWeChat(rules, time.time)
    world.platforms.register(PLATFORM, SECRET)
    (folder / "first").mkdir(mode=0o700)
    (folder / "accounts.csv").write_text("\n".join(("appid", *ACCOUNTS)))
    for account in ACCOUNTS:
        first = world.platforms.authorise(PLATFORM, account)
        (folder / "first" / account).write_text(first)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(world)) as address,
    ):
        (folder / "ticket").write_text(world.platforms.push_ticket(PLATFORM))
        (folder / "ticket").chmod(0o600)
        (folder / "jobs.yaml").write_text(MANIFEST.format(address=address, accounts=accounts))
        yield world


def start(folder: Path) -> subprocess.Popen[str]:
    """A run as a scheduler starts it."""
    command = [sys.executable, "-m", "harvester", "run", "jobs.yaml", "--log-level", "debug"]
    environ = {**os.environ, "PLATFORM_SECRET": SECRET, "PYTHONPATH": str(Path.cwd())}
    return subprocess.Popen(
        command, cwd=folder, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run_through(folder: Path) -> str:
    """A run to its end, which must be good; what it said."""
    with start(folder) as run:
        out, err = run.communicate()
    assert run.returncode == Exit.DONE, err
    return out + err


def kept(folder: Path) -> dict[str, str]:
    """The refresh tokens in the sink."""
    return {path.name: path.read_text() for path in (folder / "refresh").iterdir()}


@pytest.mark.long
@pytest.mark.parametrize(
    "accounts",
    [
        pytest.param(FROM_THE_PLATFORM, id="list", marks=pytest.mark.slow),
        pytest.param(FROM_A_FILE, id="file"),
    ],
)
def test_three_hundred_accounts_through_one_platform(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, accounts: str
) -> None:
    """Killed in the middle, it goes on: every row is there, and every refresh token is the newest.

    The sink wins over the manifest, which has been overtaken. No call is refused but for those
    whose new refresh token the killed run took to its grave, and no secret is left anywhere but in
    the sink.
    """
    with platform_world(tmp_path, accounts) as world:
        refreshed = world.counters.paths
        with start(tmp_path) as run:
            while refreshed[AUTHORIZER_TOKEN_PATH] < 120:
                assert run.poll() is None, run.stderr and run.stderr.read()
                time.sleep(0.005)
            run.send_signal(signal.SIGKILL)
            run.communicate()
        before = refreshed[AUTHORIZER_TOKEN_PATH]
        assert 120 <= before < 300
        said = run_through(tmp_path)
        lost = world.counters.errcodes.pop(61023, 0)
        assert world.counters.errcodes == {}
        # At most as many as were in flight when the run was killed.
        assert lost <= 16
        # Each of them is asked for twice, and what was in flight may be counted after the kill.
        assert refreshed[AUTHORIZER_TOKEN_PATH] <= before + 300 + 16 + lost
        assert refreshed[COMPONENT_TOKEN_PATH] == 2
        assert kept(tmp_path) == {
            account: refresh_token_of(world, PLATFORM, account) for account in ACCOUNTS
        }
        # Complete days are not asked again, and no token is touched.
        before = refreshed[AUTHORIZER_TOKEN_PATH]
        run_through(tmp_path)
        assert refreshed[AUTHORIZER_TOKEN_PATH] == before
    assert published_rows(duck, tmp_path / "output", DAILY) == expected(
        DAILY, ACCOUNTS, days_between(*DAYS)
    )
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "refresh").iterdir()}
    assert modes == {0o600}
    assert "c4n4ry" not in said
    assert leaks_in_files(tmp_path / "output") == {}


def test_plan_uses_the_cached_list_of_accounts(tmp_path: Path) -> None:
    """After a run `plan` makes no call and counts all of them; one may be chosen by name."""
    with platform_world(tmp_path) as world:
        command = [sys.executable, "-m", "harvester"]
        environ = {**os.environ, "PLATFORM_SECRET": SECRET, "PYTHONPATH": str(Path.cwd())}
        chosen = [*command, "run", "jobs.yaml", "--accounts", ACCOUNTS[6]]
        subprocess.run(chosen, cwd=tmp_path, env=environ, check=True, capture_output=True)
        asked = world.counters.requests
        environ.pop("PLATFORM_SECRET")
        planned = subprocess.run(
            [*command, "plan", "jobs.yaml", "--format", "json"],
            cwd=tmp_path,
            env=environ,
            check=True,
            capture_output=True,
        )
        assert json.loads(planned.stdout)["requests"] == 299
        assert world.counters.requests == asked


def test_without_a_cached_list_a_plan_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command without calls names the command that fetches the list.

    The manifest can be checked offline all the same.
    """
    (tmp_path / "jobs.yaml").write_text(
        MANIFEST.format(address="http://127.0.0.1:9", accounts=FROM_THE_PLATFORM)
    )
    monkeypatch.chdir(tmp_path)
    assert invoke(["plan", "jobs.yaml"]) == Exit.USAGE
    assert "no account is known to have authorised the platform" in capsys.readouterr().err
    assert invoke(["check", "jobs.yaml", "--offline"]) == Exit.DONE
    assert "PLATFORM_SECRET" in capsys.readouterr().out


def test_a_platform_without_a_ticket_ends_a_run_before_it_begins(tmp_path: Path) -> None:
    """Exit 4, WeChat's reason, and what to do about it; no account was asked for."""
    with platform_world(tmp_path) as world:
        world.platforms.push_ticket(PLATFORM)
        with start(tmp_path) as run:
            _, err = run.communicate()
        assert run.returncode == Exit.UNAUTHORISED
        assert "the platform's accounts: 61006" in err
        assert "api_start_push_ticket" in err
        assert world.counters.paths.keys() == {COMPONENT_TOKEN_PATH}


def test_a_program_catches_a_refused_platform_as_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a run has its result, can be pickled, and its text has the remedy.

    A check, which has no result, raises the same class.
    """
    monkeypatch.setenv("PLATFORM_SECRET", SECRET)
    with platform_world(tmp_path) as world:
        world.platforms.push_ticket(PLATFORM)
        manifest = tmp_path / "jobs.yaml"
        result = harvester.run(manifest, output=tmp_path / "output")
        with pytest.raises(harvester.Unauthorised, match="61006") as caught:
            result.raise_for_outcome()
        with pytest.raises(harvester.Unauthorised) as checked:
            harvester.check(manifest, output=tmp_path / "output")
    ended = caught.value
    copy = pickle.loads(pickle.dumps(ended))
    assert ended.result is result
    assert copy.result.error is copy
    assert (copy.result.run_id, str(copy)) == (result.run_id, str(ended))
    assert (result.outcome, result.exit_code) == ("unauthorised", Exit.UNAUTHORISED)
    assert "api_start_push_ticket" in str(ended)
    assert checked.value.result is None


@pytest.mark.parametrize(("code", "calls"), [(45009, 1), (-1, 2)])
def test_a_platform_that_is_refused_for_now_is_75(tmp_path: Path, code: int, calls: int) -> None:
    """A spent quota and a fault of WeChat pass; a fault is tried again."""
    with platform_world(tmp_path) as world:
        (tmp_path / "jobs.yaml").write_text(
            (tmp_path / "jobs.yaml").read_text() + "retry: {max_attempts: 2, initial_delay: 1ms}\n"
        )
        world.fail(PLATFORM, code, dataset=TOKEN)
        with start(tmp_path) as run:
            _, err = run.communicate()
        assert run.returncode == Exit.AGAIN
        assert f"the platform's accounts: {code}" in err
        assert world.counters.paths == {COMPONENT_TOKEN_PATH: calls}
