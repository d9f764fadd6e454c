"""No secret and no token in anything that is printed, logged, raised or left on the disk.

Whatever can go wrong goes wrong here, at debug level and in development mode, and the answers of
the servers repeat every secret they know. Then everything is searched, see
`tests.support.secret_canary`.
"""

from __future__ import annotations

import gc
import gzip
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
from anyio.from_thread import start_blocking_portal

from harvester.catalogue import CATALOGUE
from harvester.catalogue.error_codes import DATA_RULES, TOKEN_RULES
from harvester.cli import invoke
from harvester.core import calendar
from harvester.core.config.credentials import (
    Access,
    AppSecret,
    HttpSource,
    PlatformAccess,
    RefreshToken,
    SecretReader,
)
from harvester.core.config.settings import Api
from harvester.core.errors import CallError
from harvester.core.exit_codes import Exit
from harvester.core.model import Window
from harvester.core.rule import Action, Scope
from harvester.core.secret import Secret
from harvester.core.text import redaction
from harvester.sandbox import QUOTA, TOKEN, Rules, call_faults
from harvester.sandbox.server import serve
from harvester.storage import publish
from harvester.storage.publication import Published
from harvester.wechat import attempt
from harvester.wechat.attempt import RefusedAttempt
from harvester.wechat.auth.component import Component
from harvester.wechat.auth.provider import TokenDenied
from harvester.wechat.auth.token_cache import TokenCache
from harvester.wechat.auth.token_providers import TokenProviders
from harvester.wechat.transport import Transport
from tests.support.fault_server import Answer, drip, fault_server, http, reset_after, say, silence
from tests.support.faulty_wechat import Fault, FaultyWeChat, Wire
from tests.support.nights import few_by_day
from tests.support.run_harness import appid
from tests.support.secret_canary import (
    APPSECRET,
    TOKEN_TAIL,
    leaks,
    leaks_in_files,
    no_secrets,
    texts_in_error,
)

PARTS = "output/*/*/*.parquet"
DATASET, OTHER = "interface_summary", "user_summary"
TODAY = calendar.instant(calendar.parse_day("2026-05-20"), 12 * 60)

GIVEN = f"97_{TOKEN_TAIL}"
"""A token that is handed over and not fetched."""


def echo(token: str) -> str:
    """The words that a careless server might say of a token."""
    return f"access_token={quote(token, safe='')} {token} secret: {APPSECRET}, {APPSECRET}"


def grant(token: str) -> str:
    """The answer of a token endpoint, but for its end."""
    return f'{{"access_token":"{token}","refresh_token":"{token}","secret":"{APPSECRET}'


def page(token: str) -> bytes:
    """The answer of a proxy."""
    return f"<html><a href='/x?{echo(token)}'>{echo(token)}</a></html>".encode()


# One attempt against a server that breaks HTTP.


def now() -> float:
    """Noon of a day long after those that are asked."""
    return TODAY


async def always(_: str) -> bool:
    """Every token may be replaced by force."""
    return True


def handed() -> Secret:
    """A token or ticket that stands in a file."""
    return Secret(GIVEN)


PLATFORM = PlatformAccess(appid(9), Secret(APPSECRET), SecretReader(handed), None)


def ways(url: str) -> list[Access]:
    """Every way to a token that talks to a server, and a token that is given."""
    return [
        AppSecret(Secret(APPSECRET)),
        AppSecret(Secret(APPSECRET), legacy=True),
        SecretReader(handed),
        HttpSource(Secret(f"{url}/?key={quote(APPSECRET, safe='')}"), {"X-Key": Secret(APPSECRET)}),
        RefreshToken(SecretReader(handed)),
    ]


ECHO, GRANT, HTML = echo(GIVEN), grant(GIVEN), page(GIVEN)
ERROR = f'{{"errcode":40001,"errmsg":"no: {ECHO} rid: 1-2-3"}}'.encode()

BROKEN: dict[str, Answer] = {
    "closed at once": say(close=True),
    "closed in the head": say(f"HTTP/1.1 200 OK\r\nX: {ECHO}".encode(), close=True),
    "reset": reset_after(b""),
    "too short": say(http(GRANT.encode(), length=1000), close=True),
    "reset in the body": reset_after(http(GRANT.encode(), length=1000)),
    "cut chunk": say(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" + GRANT.encode(), close=True
    ),
    "cut at the end": say(b"HTTP/1.1 200 OK\r\n\r\n" + GRANT.encode(), close=True),
    "no gzip": say(http(GRANT.encode(), headers="Content-Encoding: gzip\r\n")),
    "cut gzip": say(http(gzip.compress(HTML)[:-9], headers="Content-Encoding: gzip\r\n")),
    "mail": say(f"220 {ECHO} ESMTP\r\n\r\n".encode()),
    "garbage": say(b"\x16\x03\x01" + ECHO.encode() + b"\r\n\r\n"),
    "long header": say(http(headers=f"X: {ECHO * 200}\r\n")),
    "broken header": say(http(headers=f"{ECHO}\r\n")),
    "broken status": say(http(status=f"2OO {ECHO}")),
    "redirect": say(http(b"", status="307 Go", headers=f"Location: https://x.test/?{ECHO}\r\n")),
    "odd redirect": say(http(b"", status="302 Go", headers=f"Location: {GIVEN}://[\r\n")),
    "bad gateway": say(http(HTML, status=f"502 {ECHO}")),
    "page": say(http(HTML, headers="Content-Type: text/html\r\n")),
    "odd type": say(http(GRANT.encode(), headers=f"Content-Type: {ECHO}\r\n")),
    "error": say(http(ERROR)),
    "odd error": say(http(f'{{"errcode":"{GIVEN}","errmsg":"{ECHO}"}}'.encode())),
    "odd grant": say(http(f'{{"access_token":["{GIVEN}"]}}'.encode())),
    "rows of another day": say(
        http(f'{{"list":[{{"ref_date":"2001-01-01","echo":"{GIVEN}"}}]}}'.encode())
    ),
    "text": say(http(ECHO.encode())),
    "bad utf-8": say(http(b"\xff" + GRANT.encode())),
    "not found": say(http(HTML, status="404 Not Found")),
    "silence": silence,
    "drip": drip(http(GRANT.encode(), length=10_000)),
}
ENDLESS = ("silence", "drip")


@pytest.mark.parametrize("name", BROKEN)
async def test_no_error_of_an_attempt_holds_a_secret(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither of the call for a token nor of that for data: text, attributes, frames, outcome."""
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    # Known from the beginning, because the server repeats it to every kind of credential.
    handed()
    window = Window(appid(1), DATASET, 4000, 4000)
    timeout = 0.2 if name in ENDLESS else 300.0
    async with (
        fault_server(BROKEN[name]) as server,
        Transport(Api(base_url=server.url, timeout=timeout), connections=2) as transport,
    ):
        for kind in ways(server.url):
            platform = Component(PLATFORM, transport, now)
            office = TokenProviders(
                {appid(1): kind}.__getitem__,
                transport,
                clock=now,
                budget=always,
                component=platform,
            )
            async with TokenCache(office, now) as tokens:
                try:
                    await tokens.current(appid(1))
                except (TokenDenied, CallError) as error:
                    told += texts_in_error(error)
                outcome = await attempt.attempt(window, CATALOGUE[DATASET], tokens, transport)
            if isinstance(outcome, RefusedAttempt):
                told += (str(outcome.why), repr(outcome), repr(outcome.answer))
        try:
            await transport.post(
                "wx0000000000000001", CATALOGUE[DATASET].path, b"{}", Secret(GIVEN)
            )
        except CallError as error:
            told += texts_in_error(error)
    assert told
    assert not leaks("\n".join(told))
    assert not leaks(caplog.text)


# Whole runs, as a scheduler starts them.


@contextmanager
def served(world: FaultyWeChat) -> Iterator[str]:
    """A sandbox in a thread of its own, for commands in other processes."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(world)) as address,
    ):
        yield address


def refusal(code: int, token: str) -> Fault:
    """A refusal that repeats the secrets."""
    return Fault(errcode=code, errmsg=f"{call_faults.MESSAGES.get(code, 'no')}: {echo(token)}")


def no_answers(token: str) -> list[Fault]:
    """Texts that are no answer at all and repeat the secrets, also in the id of a request."""
    half = grant(token).encode()
    odd = f'{{"errcode":"{token}","errmsg":"{echo(token)}"}}'.encode()
    hint = f'{{"errcode":48001,"errmsg":"no hint: [{APPSECRET[:20]}]"}}'.encode()
    bodies = (half, odd, half + b'"}', hint, page(token), b"", b"{}", b'{"list":null}')
    pages = [Fault(status=status, body=page(token)) for status in (500, 502)]
    return [*pages, *(Fault(body=body) for body in bodies), *(Fault(wire=wire) for wire in Wire)]


# The minute limit is left out: it is waited for, and says nothing that others do not.
DATA_CODES = [
    code
    for code, rule in DATA_RULES.items()
    if rule.action is not Action.SLOW_DOWN and rule.scope is not Scope.DATASET
]
TOKEN_CODES = [*TOKEN_RULES, 40013, 40125, 40164, 89503, -1]


def data_faults(token: str) -> list[Fault]:
    """The answers to data calls, also rows that repeat the secrets beside what is declared."""
    members = {"echo": echo(token), token: [token[:-9], {"cut": token[9:].upper()}]}
    return [
        Fault(alter=lambda rows: [{**row, **members} for row in rows]),
        Fault(alter=lambda rows: [{**row, **members, "callback_count": token} for row in rows]),
        *(refusal(code, token) for code in (*DATA_CODES, 99_999)),
        *no_answers(token),
        Fault(alter=lambda rows: [{**row, "callback_count": "none"} for row in rows]),
        Fault(alter=lambda rows: [{**row, "ref_date": "2001-01-01"} for row in rows]),
    ]


def token_faults(token: str) -> list[Fault]:
    """Answers to calls for a token, one of them with an unknown token."""
    made_up = Fault(body=f'{grant(token)}"}}'.encode())
    return [*(refusal(code, token) for code in TOKEN_CODES), *no_answers(token), made_up]


MANIFEST = """
version: 1
api: {{base_url: "{address}", timeout: 2s}}
defaults: {{credential: {{secret: "${{CANARY_{{appid}}}}"}}}}
accounts:
{accounts}
  - {{appid: wx00000000000fffff, credential: {{token: "${{file:token}}"}}}}
  - appid: wx00000000000ffff1
    credential: {{token_command: [sh, -c, 'echo "$LEAK, no $KEY" >&2; exit 1']}}
  - appid: wx00000000000ffff2
    credential: {{token_command: [sh, -c, 'echo "$LEAK" and "$LEAK"']}}
  - appid: wx00000000000ffff3
    credential: {{token_url: "{address}/no?key=${{KEY}}", headers: {{X-Key: "${{KEY}}"}}}}
jobs:
  - datasets: [interface_summary, user_summary]
    begin_date: 2026-03-01
    end_date: 2026-03-07
limits: {{per_token: {{rate: 1000/s, burst: 100, concurrency: 8}}}}
retry: {{max_attempts: 2, initial_delay: 1ms, max_delay: 2ms}}
output: output
"""


class Field:
    """A folder with a manifest, a sandbox for it, and everything that commands said."""

    def __init__(self, folder: Path, address: str, accounts: int) -> None:
        self.folder = folder
        self.said: list[str] = []
        names = [appid(number) for number in range(1, accounts + 1)]
        lines = "\n".join(f"  - appid: {name}" for name in names)
        self.manifest = folder / "jobs.yaml"
        self.manifest.write_text(MANIFEST.format(address=address, accounts=lines))
        self.environ = {
            **{name: value for name, value in os.environ.items() if "COV" not in name},
            **{f"CANARY_{name}": APPSECRET for name in names},
            "KEY": APPSECRET,
            "LEAK": APPSECRET,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }

    def command(self, verb: str, *options: str, before: str = "") -> int:
        """Run a verb in a process of its own, some code before it; returns the exit code."""
        words = [verb, str(self.manifest), *options]
        begin = f"import sys\nfrom harvester import cli\nsys.argv[1:] = {words}"
        ended = subprocess.run(
            [sys.executable, "-X", "dev", "-c", f"{begin}\n{before}\ncli.main()"],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=self.environ,
        )
        self.said += (ended.stdout, ended.stderr)
        return ended.returncode

    def check(self) -> None:
        """Nothing was said and nothing is left that holds a secret, but for our own file."""
        assert not leaks("\n".join(self.said))
        (self.folder / "token").unlink(missing_ok=True)
        assert not leaks_in_files(self.folder)


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Callable[[int], tuple[Field, FaultyWeChat]]]:
    """Makes a field of so many accounts."""
    world = FaultyWeChat(Rules(token_tail=TOKEN_TAIL, latency=0.001), now)
    world.date_comment = calendar.EMULATED
    with served(world) as address:

        def make(accounts: int) -> tuple[Field, FaultyWeChat]:
            (tmp_path / "token").write_text(world.token_of("wx00000000000fffff") + "\n")
            return Field(tmp_path, address, accounts), world

        yield make


@pytest.mark.long
def test_a_run_in_which_everything_goes_wrong_shows_no_secret(
    field: Callable[[int], tuple[Field, FaultyWeChat]],
) -> None:
    """Each account meets another fault; the run record, the tables and the files are clean."""
    kinds = [DATASET] * len(data_faults("")) + [TOKEN] * len(token_faults(""))
    place, world = field(len(kinds) + 3)
    for number, kind in enumerate(kinds, 1):
        token = world.token_of(appid(number))
        made = [*data_faults(token), *token_faults(token)]
        world.fail(appid(number), made[number - 1], dataset=kind)
    last = appid(len(kinds) + 1)
    world.fail(last, refusal(47009, world.token_of(last)), dataset=OTHER)
    world.fail(last, refusal(-1, world.token_of(last)), dataset=QUOTA)
    # Of several accounts whose requests for a token get no answer it waits for one.
    short = "--max-duration", "15s"
    code = place.command("run", "--log-level", "debug", "--summary", "summary.json", *short)
    # Some of it may still come, and that wins.
    assert code == Exit.ATTENTION
    record = (place.folder / "summary.json").read_text()
    assert "40125" in record
    assert "the command `sh`" in record
    assert "the token server answered HTTP 404" in record
    assert "exit code 1: *** no" in record
    assert '"rid":"***"' in record.replace(" ", "")
    place.command(
        "run", "--log-level", "debug", "--log-format", "json", "--progress", "bar", *short
    )
    place.command("status", "--format", "json")
    place.command("check", "--log-level", "debug")
    rows = [row for file in place.folder.glob(PARTS) for row in pq.read_table(file).to_pylist()]
    extras = [json.loads(row["_extra"]) for row in rows if row.get("_extra")]
    assert {(extra["***"][0], extra["***"][1]["cut"]) for extra in extras} == {("***", "***")}
    kept = [*place.folder.glob("output/_harvester/quarantine/*/*/*.json")]
    assert any('"callback_count":"***"' in json.loads(file.read_text())["body"] for file in kept)
    place.check()


def test_an_answer_that_repeats_secrets_is_shown_without_them(
    field: Callable[[int], tuple[Field, FaultyWeChat]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The bytes of a fetched answer, its values, and the words of a refusal."""
    place, world = field(4)
    for name, value in place.environ.items():
        monkeypatch.setenv(name, value)
    for number in range(1, 5):
        token = world.token_of(appid(number))
        rows, broken, *_ = data_faults(token)
        refused = refusal(48001, token), refusal(99_999, token)
        world.fail(appid(number), (rows, broken, *refused)[number - 1], dataset=DATASET)
        for form in (["--raw"], [], ["--format", "json"]):
            words = [appid(number), DATASET, "2026-03-02", str(place.manifest), *form]
            assert invoke(["fetch", *words]) == Exit.INCOMPLETE
    said = capsys.readouterr()
    assert said.out.count("***") > 8
    place.said += (said.out, said.err)
    place.check()


def live_secrets() -> int:
    """Return the number of secrets in memory, without those of modules that a run froze."""
    return sum(isinstance(item, Secret) for item in gc.get_objects())


@pytest.mark.long
def test_a_run_forgets_its_secrets(
    field: Callable[[int], tuple[Field, FaultyWeChat]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs of one process: each has a record of its own, and none is left of either."""
    place, _ = field(2)
    for name, value in place.environ.items():
        monkeypatch.setenv(name, value)
    seen: list[set[int]] = []
    kept = publish.publish

    def spy(*given: Any) -> Published:
        seen[-1] |= {id(record) for record in redaction._RUNS}
        assert redaction.masked(f"{APPSECRET} {TOKEN_TAIL}") == "*** ***"
        return kept(*given)

    monkeypatch.setattr(publish, "publish", spy)
    with no_secrets():
        gc.collect()
        before, secrets = {id(record) for record in redaction._RUNS}, live_secrets()
        for _ in range(2):
            seen.append(set())
            assert invoke(["run", str(place.manifest), "--refetch", "all"]) == Exit.INCOMPLETE
            gc.collect()
            assert len(seen[-1] - before) == 1
            assert {id(record) for record in redaction._RUNS} == before
            assert live_secrets() <= secrets


CRASHES = {
    "in a worker": """
async def crash(window, dataset, tokens, transport):
    token = await tokens.current(window.appid)
    raise ValueError(f'POST /x?access_token={token.reveal()}')
from harvester.wechat import attempt as fetch
fetch.attempt = crash
""",
    "in a publish": """
import os
def crash(tree, dataset, partition, groups):
    assert groups
    raise KeyError(os.environ['CANARY_wx0000000000000001'])
from harvester.storage import publish
publish.publish = crash
""",
    "behind aiohttp": """
import aiohttp
async def crash(self, url, **more):
    raise aiohttp.InvalidURL(url, 'bad ' + str(url))
aiohttp.ClientSession.post = crash
""",
    "of the loop": """
import asyncio
from harvester.wechat import attempt as fetch
honest = fetch.attempt
async def crash(window, dataset, tokens, transport):
    token = await tokens.current(window.appid)
    asyncio.get_running_loop().call_soon(int, token.reveal())
    return await honest(window, dataset, tokens, transport)
fetch.attempt = crash
""",
    "of the interpreter": """
import os
from harvester.runs import harvest as run
def crash(*args, **more):
    raise BaseException(os.environ['CANARY_wx0000000000000001'])
run._make_whole = crash
""",
    "killed with answers in the raw log": """
import os
def crash(tree, dataset, partition, groups):
    os._exit(9)
from harvester.storage import publish
publish.publish = crash
""",
}


@pytest.mark.parametrize(
    "crash", few_by_day(CRASHES.values(), [*CRASHES.values()][::2]), ids=CRASHES
)
def test_a_run_that_crashes_shows_no_secret(
    field: Callable[[int], tuple[Field, FaultyWeChat]], crash: str
) -> None:
    """Wherever the bug is, what is told of it names the place and no value."""
    place, _ = field(2)
    place.command("run", "--log-level", "debug", before=crash)
    assert any(place.said) or "os._exit" in crash
    raw = list(place.folder.glob("output/_harvester/raw/*/*"))
    assert raw or "os._exit" not in crash
    place.check()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [DATASET, TOKEN])
def test_each_fault_alone_shows_no_secret(
    field: Callable[[int], tuple[Field, FaultyWeChat]], kind: str
) -> None:
    """Every fault for all accounts: a run that fails entirely shows no secret either."""
    place, world = field(3)
    make = data_faults if kind == DATASET else token_faults
    for turn in range(len(make(""))):
        for number in (1, 2, 3):
            name = appid(number)
            world.heal(name, dataset=kind)
            world.fail(name, make(world.token_of(name))[turn], dataset=kind)
        place.command("run", "--log-level", "debug", "--refetch", "all")
    place.check()


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    """Each form in a text, and a secret in a file."""
    assert leaks(f"x {quote(APPSECRET, safe='')} y")
    assert invoke(["datasets", "interface_summary"]) == Exit.DONE
    assert not leaks_in_files(tmp_path)
    (tmp_path / "file").write_text(TOKEN_TAIL)
    assert leaks_in_files(tmp_path)
    assert leaks("\n".join(texts_in_error(ValueError({"body": APPSECRET}))))
