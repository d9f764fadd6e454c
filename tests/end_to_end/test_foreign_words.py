"""Hostile texts in every place where harvester takes in what it did not write.

Each place gets all texts of `tests.support.hostile_texts`, and everything that the commands print
is searched for what acts on a terminal, a CI runner, a page or a sheet.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from os import environ
from pathlib import Path
from typing import Any

import pytest

from harvester.cli import invoke
from harvester.cli.commands import check
from harvester.cli.output import answers, terminal
from harvester.core.text.safe_text import safe_text
from harvester.runs.record import causes
from harvester.sandbox import Rules
from harvester.sandbox.data import Row
from tests.support.faulty_wechat import Fault, FaultyWeChat
from tests.support.hostile_texts import FRIENDLY, HOSTILE, acts, acts_in_json, numbers_in
from tests.support.markdown_pages import texts_shown
from tests.support.run_harness import appid
from tests.support.sandboxes import serve_in_thread

DATASET = "interface_summary"
DAY = "2026-05-15"
"""A day on which each of the accounts has rows."""

Words = dict[str, str]
"""A hostile text for each account."""

# Nothing depends on the runner but the annotations of errors, so most tests run with them.
each_way = pytest.mark.parametrize(
    ("runner", "words"),
    [
        pytest.param(True, 8, id="GitHub, an eighth"),
        pytest.param(True, 1, id="GitHub", marks=pytest.mark.slow),
        pytest.param(False, 1, id="no runner", marks=pytest.mark.slow),
    ],
    indirect=True,
)


@dataclass
class Shown:
    """The outputs of commands, as text and as JSON, and the pages of their jobs."""

    capsys: pytest.CaptureFixture[str]
    texts: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)

    def __call__(self, *arguments: str) -> None:
        """Run a command and keep its output."""
        self.capsys.readouterr()
        invoke(arguments)
        out, err = self.capsys.readouterr()
        is_json = "json" in arguments and out.startswith(("{", "["))
        (self.documents if is_json else self.texts).append(out)
        self.texts.append(err)
        page = Path(environ.get("GITHUB_STEP_SUMMARY", "/none"))
        if page.exists():
            self.pages.append(page.read_text("utf-8"))
            page.unlink()

    def add_records(self, folder: Path) -> None:
        """Keep the run records of an output."""
        self.documents += [path.read_text() for path in (folder / "_harvester/runs").glob("*.json")]

    def check(self, *, least: int) -> None:
        """Fail if anything acts, or if fewer than ``least`` texts got into the outputs at all."""
        found = [each for text in self.texts for each in acts(text)]
        found += [each for document in self.documents for each in acts_in_json(document)]
        assert not found, f"{len(found)} act:\n" + "\n".join(each[:300] for each in found[:20])
        for page in self.pages:
            texts_shown(page)
        assert len(numbers_in(self.texts)) >= least, len(numbers_in(self.texts))


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    """The outputs of one test; lists are printed whole, so that no text is left out."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    for module in (answers, terminal):
        monkeypatch.setattr(module, "MAX_LINES", 1000)
    monkeypatch.setattr(causes, "MAX_CAUSES", 1000)
    monkeypatch.setattr(check, "MAX_ROWS", 1000)
    yield Shown(capsys)
    root.handlers[:] = handlers


@pytest.fixture
def runner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment of a GitHub runner, if the parameter is true."""
    if request.param:
        monkeypatch.setenv("CI", "true")
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page.md"))


@pytest.fixture
def words(request: pytest.FixtureRequest) -> Words:
    """A text for each account: all of them, or a share that is another one for each test."""
    share = request.param
    first = zlib.crc32(request.node.originalname.encode()) % share
    return {appid(number): text for number, text in enumerate(HOSTILE[first::share], 1)}


def yaml_of(value: object) -> str:
    """Write a value as YAML in which every special character is escaped, but for those above."""
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"[\x7f-\uffff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def write_manifest(
    folder: Path, address: str, accounts: Mapping[str, dict[str, Any]], **api: str
) -> Path:
    """Write a manifest of one day with these accounts."""
    manifest = folder / "jobs.yaml"
    document = {
        "api": {"base_url": address, "timeout": "5s", **api},
        "defaults": {"credential": {"secret": "${file:secret}"}},
        "accounts": [{"appid": each, **more} for each, more in accounts.items()],
        "jobs": [{"datasets": [DATASET], "begin_date": DAY, "end_date": DAY}],
        "retry": {"max_attempts": 1, "initial_delay": "1ms", "max_delay": "1ms"},
        "limits": {"per_token": {"rate": "10000/s"}},
        "output": "out",
    }
    (folder / "secret").write_text("a-secret-of-16-ch")
    manifest.write_text(yaml_of(document))
    return manifest


def plain_manifest(folder: Path, address: str, appids: Iterable[str], **api: str) -> Path:
    """Write a manifest of accounts of which nothing is said."""
    return write_manifest(folder, address, {each: {} for each in appids}, **api)


@contextmanager
def wechat(faults: Mapping[str, Fault] | None = None) -> Iterator[str]:
    """Serve an emulator whose data calls have the fault of the account."""
    world = FaultyWeChat(Rules(), time.time)
    for each, fault in (faults or {}).items():
        world.fail(each, fault)
    with serve_in_thread(world) as address:
        yield address


def run_and_look(shown: Shown, manifest: Path, *verbs: str) -> None:
    """Run the verbs on a manifest as text and as JSON, and keep the records."""
    for verb in verbs:
        if verb == "run":
            # A run waits for token servers without a usable answer; it says their words at once.
            run = ("run", str(manifest), "--progress", "none", "--max-duration", "15s")
            shown(*run)
            shown(*run, "--log-format", "json")
        else:
            shown(verb, str(manifest))
            shown(verb, str(manifest), "--format", "json")
    shown.add_records(manifest.parent / "out")


# WeChat's words


@each_way
@pytest.mark.parametrize("place", ["errmsg", "before a rid", "in a hint", "rid"])
@pytest.mark.usefixtures("runner")
def test_messages_of_refusals(shown: Shown, tmp_path: Path, words: Words, place: str) -> None:
    """The message of an errcode, and the request id in it, in `run`, `check` and the record."""
    codes = iter(range(99_000, 100_000))

    def fault(text: str) -> Fault:
        word = re.sub(r"[^A-Za-z0-9_.~@!-]", "", text)[-64:]
        message = {
            "errmsg": text,
            "before a rid": f"{text} rid: 68cf5a1e-31a9b2c3-1a2b3c4d",
            "in a hint": f"no hint: [{text}]",
            "rid": f"{number_of(text)} hint: [{word}]",
        }[place]
        return Fault(errcode=next(codes), errmsg=message)

    with wechat({each: fault(text) for each, text in words.items()}) as address:
        run_and_look(shown, plain_manifest(tmp_path, address, words), "run", "check", "status")
    shown.check(least=len(words))


@each_way
@pytest.mark.usefixtures("runner")
def test_names_of_members(shown: Shown, tmp_path: Path, words: Words) -> None:
    """Undeclared members, which `run` and its record list."""

    def fault(text: str) -> Fault:
        return Fault(alter=lambda rows: [{**row, text: 1} for row in rows])

    with wechat({each: fault(text) for each, text in words.items()}) as address:
        run_and_look(shown, plain_manifest(tmp_path, address, words), "run", "status")
    # Long names are cut.
    shown.check(least=len(words) - 2)


@each_way
@pytest.mark.usefixtures("runner")
def test_values_of_rows(shown: Shown, tmp_path: Path, words: Words) -> None:
    """Values that do not fit their column, or stand in the place of a row."""

    def fault(text: str) -> Fault:
        return Fault(alter=lambda rows: altered(rows, text))

    with wechat({each: fault(text) for each, text in words.items()}) as address:
        run_and_look(shown, plain_manifest(tmp_path, address, words), "run", "status", "verify")
    # A reason names the member, and repeats no value of a row.
    shown.check(least=0)


def altered(rows: list[Row], text: str) -> list[Row]:
    """Rows with a text in the place of a number, of a day or of a row."""
    kinds = ({"callback_count": text}, {"ref_date": text}, {text: {text: [text]}})
    return [{**row, **kinds[len(text) % 3]} for row in rows]


# The manifest's words


@each_way
@pytest.mark.usefixtures("runner")
def test_names_of_accounts(shown: Shown, tmp_path: Path, words: Words) -> None:
    """Names and tags, in tables, in JSON, as options and in mistakes; JSON keeps them exactly."""
    named = {each: {"name": text, "tags": [text]} for each, text in words.items()}
    with wechat() as address:
        manifest = write_manifest(tmp_path, address, named)
        run_and_look(shown, manifest, "check", "plan")
        shown("status", str(manifest), "--by", "account")
        for text in [*words.values()][::4]:
            shown("plan", str(manifest), "--accounts", f"x{text}", "--jobs", text)
    [document] = [each for each in map(json.loads, shown.documents) if "accounts" in each]
    assert {each["name"] for each in document["accounts"]} == {*words.values()}
    shown.check(least=len(words))


@each_way
@pytest.mark.usefixtures("runner")
def test_mistakes_of_manifests(shown: Shown, tmp_path: Path, words: Words) -> None:
    """Keys, datasets, jobs and variables that a mistake repeats."""
    for text in words.values():
        document = {text: 1, "jobs": [{"name": text, "datasets": [text], "accounts": [text]}] * 2}
        document["api"] = {"base_url": text, "proxy": "${" + text + "}", text: text}
        document["accounts_file"] = f"${{file:{text}}}"
        (tmp_path / "jobs.yaml").write_text(yaml_of(document))
        shown("status", str(tmp_path / "jobs.yaml"))
    shown.check(least=len(words) - 5)


# File names


def file_name(text: str) -> str:
    """Return a text as a file name, which has neither slash nor NUL."""
    return text.replace("/", "_").replace("\0", "")[:80]


@each_way
@pytest.mark.usefixtures("runner")
def test_paths_of_manifests_and_outputs(shown: Shown, tmp_path: Path, words: Words) -> None:
    """Paths that do not exist, are no manifest, hold a mistake, or are an output."""
    with wechat() as address:
        manifest = plain_manifest(tmp_path, address, [appid(1)])
        for text in words.values():
            other = tmp_path / file_name(text)
            shown("status", str(other))
            shown("plan", str(other), "--format", "json")
            other.write_text("accounts: {}\n")
            shown("status", str(other))
            shown("verify", str(manifest), "--output", str(other))
            shown("status", str(manifest), "--output", f"{other}.out")
            shown("rewrite", str(manifest), "--to", f"{text}${{")
            shown("init", str(other))
            shown("datasets", text)
            shown("explain", text)
            shown("run", str(manifest), f"--{text}", text)
    shown.check(least=len(words))


@each_way
@pytest.mark.usefixtures("runner")
def test_files_in_the_output(shown: Shown, tmp_path: Path, words: Words) -> None:
    """Files of others beside the data, in the raw log, and in the place of records and locks."""
    with wechat() as address:
        manifest = plain_manifest(tmp_path, address, [appid(1)])
        run_and_look(shown, manifest, "run")
        out = tmp_path / "out"
        for text in words.values():
            (out / DATASET / file_name(text)).write_text("")
            folder = out / "_harvester/raw" / file_name(text)
            folder.mkdir(parents=True)
            (folder / f"0000-of-0001.{file_name(text)}").write_text("")
        run_and_look(shown, manifest, "status", "verify")
        for number, text in enumerate(words.values()):
            record: dict[str, Any] = dict.fromkeys(("run_id", "started_at", "ended_at"), text)
            record |= {"state": text, "outcome": text, "retry_at": text}
            record |= {"exit_code": 3, "reasons": [text], "requests": 1, "rows": 1}
            path = out / f"_harvester/runs/9{number // 5:03}.{number}.json"
            path.write_text(json.dumps(record))
            if number % 5 == 4 or number == len(words) - 1:
                run_and_look(shown, manifest, "status")
        run_and_look(shown, manifest, "run")
        shown("verify", str(manifest), "--repair")
    # The records that were planted are no output of ours.
    shown.documents = [each for each in shown.documents if not is_planted(each)]
    shown.check(least=len(words))


def is_planted(document: str) -> bool:
    """Return whether a document is one of the hostile records themselves."""
    return set(json.loads(document)) >= {"run_id", "rows"} and "record_version" not in document


# Other programs


@each_way
@pytest.mark.usefixtures("runner")
def test_error_output_of_commands(shown: Shown, tmp_path: Path, words: Words) -> None:
    """The last line that a `token_command` writes to stderr."""
    accounts: dict[str, dict[str, Any]] = {}
    for each, text in words.items():
        (tmp_path / each).write_text(f"first\n{text}")
        command = ["sh", "-c", 'cat "$0" >&2; exit 3', each]
        accounts[each] = {"credential": {"token_command": command}}
    with wechat() as address:
        run_and_look(shown, write_manifest(tmp_path, address, accounts), "check", "run")
    # Every word that could be a token is masked, and that is most of them.
    shown.check(least=len(words) // 9)


class QuietServer(ThreadingHTTPServer):
    """A server that prints nothing when a client leaves."""

    def handle_error(self, *_: object) -> None:
        """Print nothing."""


class HostileServer(BaseHTTPRequestHandler):
    """A server whose answers hold a hostile text in every place."""

    count = 0

    def do_GET(self) -> None:
        """Answer a token server's request, or a proxied one."""
        self.answer(HOSTILE[int(self.path.rpartition("/")[2])])

    def do_CONNECT(self) -> None:
        """Refuse a connection as a proxy."""
        HostileServer.count += 1
        self.answer(HOSTILE[HostileServer.count % len(HOSTILE)])

    def answer(self, text: str) -> None:
        """Write a redirect, an error or a body."""
        words = text.encode("utf-8", "replace").replace(b"\r", b" ").replace(b"\n", b" ")
        status = (b"302", b"403", b"200")[len(text) % 3]
        self.wfile.write(b"HTTP/1.1 " + status + b" " + words + b"\r\n")
        self.wfile.write(b"Location: https://" + words + b"/\r\nX-Words: " + words + b"\r\n")
        self.wfile.write(b"Content-Length: %d\r\n\r\n" % len(words) + words)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def server_of_words() -> Iterator[str]:
    """Serve hostile answers; yields the address."""
    server = QuietServer(("127.0.0.1", 0), HostileServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.long
@each_way
@pytest.mark.usefixtures("runner")
def test_words_of_token_servers_and_proxies(shown: Shown, tmp_path: Path, words: Words) -> None:
    """Status lines, headers and bodies of a token server and of a proxy."""
    with server_of_words() as server, wechat() as address:
        accounts: dict[str, dict[str, Any]] = {
            each: {"credential": {"token_url": f"{server}/{HOSTILE.index(text)}"}}
            for each, text in words.items()
        }
        run_and_look(shown, write_manifest(tmp_path, address, accounts), "check", "run")
        proxied = plain_manifest(tmp_path, "https://api.test", words, proxy=server, timeout="1s")
        run_and_look(shown, proxied, "check")
    # Nothing of these answers is repeated but the host of a redirect, which is rarely one.
    shown.check(least=0)


# What must stay


def test_ordinary_words_stay_as_they_are(shown: Shown, tmp_path: Path) -> None:
    """A hundred names, paths and messages are printed unchanged, as text and as JSON."""
    assert len(FRIENDLY) >= 100
    # A manifest would fill in a reference.
    names = [text for text in FRIENDLY if "${" not in text]
    named = {appid(number): {"name": text} for number, text in enumerate(names, 1)}
    with wechat() as address:
        run_and_look(shown, write_manifest(tmp_path, address, named), "check")
    assert [each["name"] for each in json.loads(shown.documents[0])["accounts"]] == names
    for number, text in enumerate(names, 1):
        assert re.search(f"^{re.escape(text)} +{appid(number)} ", shown.texts[0], re.MULTILINE)
        assert json.dumps(text, ensure_ascii=False) in shown.documents[0]
    assert [text for text in FRIENDLY if safe_text(text) != text] == []


def number_of(text: str) -> str:
    """Return the word of a hostile text that names it."""
    [found, *_] = re.findall(r"evil\d{3}", text)
    return str(found)
