"""`harvester sandbox`: the emulator's faults in users' hands."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harvester.cli import invoke
from harvester.cli.commands import sandbox
from harvester.core.exit_codes import Exit
from harvester.sandbox.server_state import QUOTA_PATH
from tests.support.faulty_wechat import FaultyWeChat, token_of
from tests.support.sandboxes import BUSY, DAILY, HOURLY, client_for

DAY = "2024-06-01"


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FaultyWeChat]:
    """Return the emulator that the command would serve with these options."""
    started: list[FaultyWeChat] = []

    def run(server: FaultyWeChat, *, port: int, announce: Callable[[str], object]) -> None:
        started.append(server)
        announce(f"http://127.0.0.1:{port}")

    def start(*options: str) -> FaultyWeChat:
        assert invoke(["sandbox", *options]) == Exit.DONE
        return started.pop()

    monkeypatch.setattr(sandbox, "run", run)
    return start


async def codes(server: FaultyWeChat, *paths: str) -> list[int]:
    """Return the errcode of one data call at each path, with a token of the emulator's."""
    async with client_for(server) as client:
        token = token_of(server, BUSY)
        return [(await client.ask(token, DAY, DAY, path=path)).errcode for path in paths]


async def test_all_data_may_be_refused(emulator: Callable[..., FaultyWeChat]) -> None:
    """Every account and dataset, with any code, a negative one too."""
    for code in (99999, -1):
        server = emulator("--refuse", str(code))
        assert await codes(server, DAILY, HOURLY) == [code, code]


@pytest.mark.parametrize(
    "name", ["interface_summary_hour", "getinterfacesummaryhour", "interface*hour"]
)
async def test_a_dataset_may_be_refused(name: str, emulator: Callable[..., FaultyWeChat]) -> None:
    """By each of its names, and the others are answered."""
    server = emulator("--refuse", f"61501:{name}")
    assert await codes(server, DAILY, HOURLY) == [0, 61501]


async def test_several_refusals_hold_at_once(emulator: Callable[..., FaultyWeChat]) -> None:
    """The one of a dataset goes before the one of all; tokens and quotas have their own."""
    server = emulator(
        "--refuse",
        "48001",
        "--refuse",
        "47001:interface_summary",
        "--refuse",
        "40164:token",
        "--refuse=76022:quota",
    )
    assert await codes(server, DAILY, HOURLY) == [47001, 48001]
    async with client_for(server) as client:
        assert (await client.stable_token(BUSY)).errcode == 40164
        token = token_of(server, BUSY)
        got = await client.post(QUOTA_PATH, {"cgi_path": DAILY}, access_token=token)
        assert got.errcode == 76022


async def test_a_daily_quota_is_kept_and_told(emulator: Callable[..., FaultyWeChat]) -> None:
    """One call beyond it answers 45009, and the quota's own endpoint has the numbers."""
    server = emulator("--daily-quota", "2")
    assert await codes(server, DAILY, DAILY, DAILY, HOURLY) == [0, 0, 45009, 0]
    async with client_for(server) as client:
        token = token_of(server, BUSY)
        got = await client.post(QUOTA_PATH, {"cgi_path": DAILY}, access_token=token)
    assert got.json["quota"] == {"daily_limit": 2, "used": 2, "remain": 0}


MISTAKES = [
    (["--refuse", "quota"], "`quota` begins with no errcode"),
    (["--refuse", "0"], "`0` begins with no errcode"),
    (["--refuse", ""], "`` begins with no errcode"),
    (["--refuse", "45009:"], "unknown dataset ``"),
    (["--refuse", "45009:interface_sumary"], "did you mean `interface_summary`?"),
    (["--refuse", "45009:tokens"], "did you mean `token`?"),
    (["--refuse", "45009:zzz"], "`harvester datasets` lists them"),
    (["--refuse", "45009:user_read"], "use `biz_summary`"),
    (["--refuse", "1:\x1b[2J"], r"\x1b[2J"),
    (["--daily-quota", "few"], "few"),
    (["--fault-rate", "1"], "for --fault-rate. Must be < 1."),
]


@pytest.mark.parametrize(("options", "words"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES])
def test_a_bad_value_is_a_usage_error(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is served, and the message has the nearest known word."""
    assert invoke(["sandbox", "--port", "0", *options]) == Exit.USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in " ".join(printed.err.split())
    assert "\x1b[2J" not in printed.err


def test_the_address_is_printed(
    emulator: Callable[..., FaultyWeChat], capsys: pytest.CaptureFixture[str]
) -> None:
    """It stands alone on stdout."""
    emulator()
    assert capsys.readouterr().out == "WeChat sandbox at http://127.0.0.1:8900\n"
