"""The examples for Prometheus: rules by promtool, and the page's lines against a local server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from harvester.cli.output.metrics import HELP
from harvester.core.exit_codes import Exit
from harvester.testing import Sandbox, sandbox
from tests.cli.test_metrics import PROMTOOL, needs_promtool
from tests.support.doc_pages import FENCED, ROOT
from tests.support.nights import few_by_day

FOLDER = ROOT / "examples/prometheus"
RULES = FOLDER / "alerts.yaml"


@needs_promtool
@pytest.mark.parametrize(
    "words", [["check", "rules", RULES.name], ["test", "rules", "alerts_test.yaml"]]
)
def test_promtool_accepts_the_rules(words: list[str]) -> None:
    """Each fires when it is to, and only then."""
    command = [PROMTOOL, *words]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    """Return all rules."""
    [group] = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_the_rules_ask_for_metrics_that_there_are() -> None:
    """And each alert has a test, a severity and what to do."""
    assert [rule["alert"] for rule in rules()[:2]] == ["HarvesterNotRun", "HarvesterNoMetrics"]
    tested = (FOLDER / "alerts_test.yaml").read_text("utf-8")
    for rule in rules():
        names = re.findall(r"harvester_(\w+)", rule["expr"])
        assert names
        assert {*names} <= {*HELP}
        assert {*rule["annotations"]} == {"summary", "action"}
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert f"alertname: {rule['alert']}\n" in tested


@dataclass
class Receiver:
    """A server that takes what is sent."""

    url: str = ""
    got: list[tuple[str, str, bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A local server in the place of a Pushgateway, or of what waits for a ping."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.take()

        def do_PUT(self) -> None:
            self.take()

        def take(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found.got.append((self.command, self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


@pytest.fixture
def wechat(tmp_path: Path) -> Iterator[Sandbox]:
    """An emulator, and a manifest of its accounts."""
    with sandbox() as served:
        (tmp_path / "jobs.yaml").write_text(json.dumps(served.manifest(begin_date="-3d")))
        yield served


def shell(heading: str, folder: Path, **environ: str) -> int:
    """Run the lines of the page below a heading; return their exit code."""
    page = (FOLDER / "README.md").read_text("utf-8").partition(f"## {heading}")[2]
    [lines] = [text for info, text in FENCED.findall(page.partition("\n## ")[0]) if info == "sh"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder), **environ}
    return subprocess.run(["sh", "-c", lines], cwd=folder, env=environ, check=False).returncode


def spoil(wechat: Sandbox, folder: Path, code: Exit) -> None:
    """Let a run end with an exit code."""
    match code:
        case Exit.USAGE:
            (folder / "jobs.yaml").write_text("version: 1\nnonsense: 2\n")
        case Exit.UNAUTHORISED:
            wechat.fail("*", 50002)
        case Exit.INCOMPLETE:
            wechat.fail(wechat.accounts[0], 48001)
        case Exit.ATTENTION:
            wechat.fail(wechat.accounts[0], 48001)
            wechat.fail(wechat.accounts[1], 45009)
        case Exit.AGAIN:
            wechat.fail(wechat.accounts[1], 45009)


PINGS = {Exit.DONE, Exit.INCOMPLETE, Exit.AGAIN, Exit.ATTENTION}
CODES = [*sorted(PINGS), Exit.UNAUTHORISED, Exit.USAGE]


@pytest.mark.parametrize("code", few_by_day(CODES, [Exit.DONE, Exit.ATTENTION]))
def test_the_metrics_of_every_end_are_pushed(
    code: Exit, wechat: Sandbox, receiver: Receiver, tmp_path: Path
) -> None:
    """The whole group is replaced, and the exit code is that of the run."""
    spoil(wechat, tmp_path, code)
    assert shell("Pushgateway", tmp_path, PUSHGATEWAY=receiver.url) == code
    [(method, path, body)] = receiver.got
    assert (method, path) == ("PUT", "/metrics/job/wechat")
    families = {each.name: each for each in text_string_to_metric_families(body.decode())}
    [sample] = families["harvester_last_run_exit_code"].samples
    assert sample.value == code


@pytest.mark.parametrize("code", few_by_day(CODES, [Exit.AGAIN, Exit.USAGE]))
def test_a_run_that_came_to_its_end_pings(
    code: Exit, wechat: Sandbox, receiver: Receiver, tmp_path: Path
) -> None:
    """Days that were refused are no reason to take the machine for dead."""
    spoil(wechat, tmp_path, code)
    expected = Exit.DONE if code in PINGS else code
    assert shell("A dead man's switch", tmp_path, PING_URL=f"{receiver.url}/ping") == expected
    assert [path for _, path, _ in receiver.got] == ["/ping"] * (code in PINGS)
