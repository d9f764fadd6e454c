"""docs/credentials.md: its scripts run, its manifests load, and its server serves."""

from __future__ import annotations

import base64
import json
import os
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from anyio.from_thread import start_blocking_portal

from harvester.cli import invoke
from harvester.core.calendar import instant, parse_day
from harvester.core.exit_codes import Exit
from harvester.core.secret import Secret
from harvester.core.text.redaction import masked
from harvester.manifest.loader import read
from harvester.sandbox import Rules
from harvester.sandbox.server import serve
from tests.cli import test_hooks
from tests.storage import test_quarantine
from tests.support.doc_pages import CREDENTIALS as PAGE
from tests.support.doc_pages import Block, blocks, each_block
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.run_harness import appid
from tests.tables import test_decode
from tests.wechat import test_protocol

NOON = instant(parse_day("2026-05-20"), 12 * 60)
ACCOUNTS = [appid(number) for number in (1, 2)]
SECRETS = dict.fromkeys(ACCOUNTS, "0123456789abcdef0123456789abcdef")
KEY = "k3y-of-the-token-server"


TOKEN = "97_Zk3vQxT8-bW7_NfYh2LsRc9JmPd5GaEu0i"


def each(form: str) -> Callable[[str], str]:
    """Return a function that writes every character of a text by its code."""
    return lambda text: "".join(form.format(ord(letter)) for letter in text)


FORMS: dict[str, tuple[str, Callable[[str], str]]] = {
    "as it is": (TOKEN, str),
    "any twenty characters of it, its head or tail cut": (TOKEN, lambda text: text[9:29]),
    "in capitals or in small letters": (TOKEN, str.upper),
    "URL-encoded, some characters or all": (
        TOKEN,
        lambda text: each("%{:02X}")(text[:9]) + text[9:],
    ),
    "URL-encoded twice": (TOKEN, each("%25{:02x}")),
    "with `\\u` escapes, as in JSON": (TOKEN, each("\\u{:04x}")),
    "with `\\x` escapes, as in Python": (TOKEN, each("\\x{:02x}")),
    "with character references, as in HTML": (TOKEN, each("&#{};")),
    "as a whole, if it has eight to nineteen characters": ("hunter22", str),
    "fewer than twenty characters of a longer one": (TOKEN, lambda text: text[9:28]),
    "as a whole, if it has fewer than eight characters": ("hunter2", str),
    "in base64": (TOKEN, lambda text: base64.b64encode(text.encode()).decode()),
    "reversed": (TOKEN, lambda text: text[::-1]),
    "split by other characters": (TOKEN, lambda text: f"{text[:13]} {text[13:26]} {text[26:]}"),
}
"""A secret and the way to write it for each form of the page."""

PLACES: dict[str, Callable[..., object]] = {
    "messages, logs, tracebacks, warnings": test_hooks.test_nothing_python_prints_shows_a_secret,
    "message and request id of a refusal, in the run record and in `check`": (
        test_protocol.test_no_field_of_a_refusal_shows_a_secret
    ),
    "undeclared members in `_extra`": test_decode.test_an_echoed_secret_does_not_reach_extra,
    "rejected answers in the quarantine": test_quarantine.test_an_echoed_secret_is_not_kept,
}
"""The test of each place of the page in which secrets are masked."""


def answers(heading: str) -> dict[str, str]:
    """Return the first two cells of the rows of the page's table with this heading."""
    _, _, table = PAGE.read_text("utf-8").partition(f"| {heading} | masked |\n|---|---|\n")
    rows = [line.strip("| ").split(" | ") for line in table.partition("\n\n")[0].splitlines()]
    return {row[0]: row[1] for row in rows}


def test_exactly_the_promised_forms_are_masked() -> None:
    """Each form of the page is written and searched; a form that is not promised is not found."""
    promised = answers("form of a known secret")
    assert promised.keys() == FORMS.keys()
    for form, (secret, write) in FORMS.items():
        Secret(secret)
        text = write(secret)
        assert masked(f"a {text} z") == ("a *** z" if promised[form] == "yes" else f"a {text} z"), (
            form
        )


def test_each_promised_place_has_its_test() -> None:
    """A place that is said to be masked is one that a test looks into."""
    promised = {place for place, is_masked in answers("place").items() if is_masked == "yes"}
    assert promised == PLACES.keys()
    assert all(map(callable, PLACES.values()))


def script(name: str, folder: Path) -> Path:
    """Write a Python script of the page to a file."""
    [text] = [block.text for block in blocks(PAGE, "python") if f"# {name}" in block.text]
    path = folder / name
    path.write_text(text)
    return path


def manifest(block: Block) -> str:
    """Complete a block to a manifest."""
    written = yaml.safe_load(block.text)
    if "accounts_from" not in written:
        written["accounts"] = [{"appid": name} for name in ACCOUNTS]
    written["jobs"] = [{"datasets": "interface_summary", "begin_date": "-30d"}]
    return yaml.safe_dump(written)


@each_block(blocks(PAGE, "yaml"))
def test_every_manifest_of_the_page_loads(block: Block, tmp_path: Path) -> None:
    """Each block loads with accounts and a job added, without a secret."""
    (tmp_path / "jobs.yaml").write_text(manifest(block))
    assert read(tmp_path / "jobs.yaml", environ={}, now=NOON).manifest().jobs


@each_block(blocks(PAGE, "yaml kubernetes", "yaml workflow", "json"))
def test_other_blocks_are_well_formed(block: Block) -> None:
    """Blocks of YAML and JSON for other programs can be parsed."""
    assert yaml.safe_load(block.text)


def unpacked(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run the page's script that unpacks secrets."""
    command = [sys.executable, str(script("unpack.py", folder)), str(folder / "secrets")]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_one_json_secret_becomes_a_file_an_account(tmp_path: Path) -> None:
    """The files are readable by their owner alone, and 300 accounts fit GitHub's limit."""
    many = {appid(number): "0123456789abcdef" * 2 for number in range(300)}
    text = json.dumps(many)
    assert len(text) < 18 * 1024
    assert unpacked(tmp_path, text).returncode == 0
    folder = tmp_path / "secrets"
    assert {path.name: path.read_text() for path in folder.iterdir()} == many
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_key_that_is_no_appid_is_not_repeated(tmp_path: Path) -> None:
    """A key that is no appid is not printed and not used as a path."""
    for key in ("../wx0000000000000001", "0123456789abcdef0123456789abcdef"):
        ended = unpacked(tmp_path, json.dumps({key: "x"}))
        assert ended.returncode == 1
        assert key not in ended.stdout + ended.stderr
        assert not list((tmp_path / "secrets").iterdir())


@pytest.fixture
def wechat() -> Iterator[tuple[FaultyWeChat, str]]:
    """A sandbox for programs in other processes, and its address."""
    world = FaultyWeChat(Rules(), time.time)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(world)) as address,
    ):
        yield world, address


@pytest.fixture
def token_server(tmp_path: Path, wechat: tuple[FaultyWeChat, str]) -> Iterator[str]:
    """The page's token server in front of the sandbox, and its address."""
    unpacked(tmp_path, json.dumps(SECRETS))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {
        **os.environ,
        "WECHAT_API": wechat[1],
        "SECRETS": str(tmp_path / "secrets"),
        "TOKEN_SERVER_KEY": KEY,
        "PORT": str(port),
    }
    command = [sys.executable, str(script("token_server.py", tmp_path))]
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def _wait_for(port: int) -> None:
    """Wait until a server listens on the port."""
    for _ in range(200):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)


def answer(url: str, key: str = KEY) -> tuple[int, bytes]:
    """Ask the token server; return the status and the body."""
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(asked, timeout=10) as got:
            return got.status, got.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_token_server_answers_requests_with_the_key(
    token_server: str, wechat: tuple[FaultyWeChat, str]
) -> None:
    """The answer is the account's current token; other requests get 403."""
    status, body = answer(f"{token_server}/{ACCOUNTS[0]}")
    assert status == 200
    assert json.loads(body)["access_token"] == wechat[0].token_of(ACCOUNTS[0])
    assert answer(f"{token_server}/{ACCOUNTS[0]}")[1] == body or json.loads(body)["expires_in"]
    assert answer(f"{token_server}/{ACCOUNTS[0]}", "another key")[0] == 403
    assert answer(f"{token_server}/../etc/passwd")[0] == 403


def live(folder: Path, address: str, credential: str) -> Path:
    """Write a manifest for the sandbox at an address."""
    path = folder / "jobs.yaml"
    path.write_text(
        f'api: {{base_url: "{address}"}}\n'
        f"accounts: [{{appid: {ACCOUNTS[0]}}}, {{appid: {ACCOUNTS[1]}}}]\n"
        "jobs: [{datasets: interface_summary, begin_date: -30d}]\n"
        "limits: {per_token: {rate: 1000/s}}\n" + credential
    )
    return path


def of_page(word: str) -> str:
    """Return the page's manifest that contains a word."""
    [text] = [block.text for block in blocks(PAGE, "yaml") if word in block.text]
    return text


def test_harvester_works_with_the_token_server(
    token_server: str,
    wechat: tuple[FaultyWeChat, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the page's manifest, WeChat gets token calls from the server alone."""
    credential = of_page("token_url").replace("https://tokens.internal", token_server)
    monkeypatch.setenv("TOKEN_SERVER_KEY", KEY)
    before = {name: wechat[0].token_of(name) for name in ACCOUNTS}
    assert invoke(["check", str(live(tmp_path, wechat[1], credential))]) == Exit.DONE
    assert {name: wechat[0].token_of(name) for name in ACCOUNTS} == before
    monkeypatch.setenv("TOKEN_SERVER_KEY", "another key")
    assert invoke(["check", str(tmp_path / "jobs.yaml")]) == Exit.UNAUTHORISED


def test_harvester_works_with_the_vault_command(
    wechat: tuple[FaultyWeChat, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command of the page runs a stand-in for Vault that prints tokens."""
    tokens = {name: wechat[0].token_of(name) for name in ACCOUNTS}
    vault = tmp_path / "bin/vault"
    vault.parent.mkdir()
    cases = "\n".join(f"  wechat/tokens/{name}) echo {token} ;;" for name, token in tokens.items())
    head = '[ "$*" = "kv get -mount=secret -field=access_token $5" ] || exit 2'
    vault.write_text(f'#!/bin/sh\n{head}\ncase "$5" in\n{cases}\n  *) exit 1 ;;\nesac\n')
    vault.chmod(0o700)
    monkeypatch.setenv("PATH", f"{vault.parent}:{os.environ['PATH']}")
    assert invoke(["check", str(live(tmp_path, wechat[1], of_page("vault")))]) == Exit.DONE
    assert not wechat[0].counters.token_calls


def test_the_token_server_has_twenty_lines_or_so(tmp_path: Path) -> None:
    """The script has at most 21 lines that are not empty."""
    lines = script("token_server.py", tmp_path).read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 21
