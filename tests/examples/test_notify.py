"""The example that tells groups of WeCom, DingTalk and Feishu: bodies, signatures, and errors."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

import harvester
from harvester.testing import sandbox
from tests.support.doc_pages import ROOT
from tests.support.hostile_texts import HOSTILE, acts

SCRIPT = ROOT / "examples/notify/notify.py"
KEY = "0123456789abcdefghij"

ANSWERS = {
    "WECOM": {"errcode": 0, "errmsg": "ok"},
    "DINGTALK": {"errcode": 0, "errmsg": "ok"},
    "FEISHU": {"code": 0, "msg": "success", "data": {}, "StatusCode": 0},
}


@dataclass
class Receiver:
    """A server in the place of the three services; ``answers`` are by name of the robot."""

    url: str
    answers: dict[str, Any] = field(default_factory=lambda: dict(ANSWERS))
    got: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)

    def environ(self, **more: str) -> dict[str, str]:
        """Return the variables of all robots."""
        robots = {f"{name}_ROBOT": f"{self.url}/{name}/send?key={KEY}" for name in ANSWERS}
        return {"PATH": "/usr/bin:/bin", **robots, **more}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A local server that takes what is posted."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            name = self.path.split("/")[1]
            assert self.headers["Content-Type"] == "application/json"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.got[name] = self.path, body
            answer = found.answers[name]
            self.send_response(answer if isinstance(answer, int) else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Receiver(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


def item(key: str, **members: Any) -> dict[str, Any]:
    """Return an item of attention as a run record has it."""
    account = {"appid": "wx0000000000000001", "name": "北京旗舰店", "tags": [], "attributes": {}}
    found = {"key": key, "cause": "refused", "errcode": 40125, "advice": "Compare the AppSecret."}
    return {**found, "accounts": [account], "datasets": [], "since": "", "new": True, **members}


def summary(folder: Path, *items: dict[str, Any], name: str = "summary.json") -> str:
    """Write the part of a run record that the example reads."""
    (folder / name).write_text(json.dumps({"attention": items}))
    return str(folder / name)


def notify(environ: dict[str, str], *files: str) -> subprocess.CompletedProcess[str]:
    """Run the example."""
    command = [sys.executable, str(SCRIPT), *files]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def signature(key: str, text: str) -> str:
    """Return HMAC-SHA256 in base64."""
    return base64.b64encode(hmac.digest(key.encode(), text.encode(), hashlib.sha256)).decode()


def test_each_robot_gets_its_own_form(receiver: Receiver, tmp_path: Path) -> None:
    """As the services document it; without a secret nothing is signed."""
    done = notify(receiver.environ(), summary(tmp_path, item("a"), item("b", new=False)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = "harvester: 1 new, a person is needed\nrefused 40125 北京旗舰店: Compare the AppSecret."
    path = "/{}/send?key=" + KEY
    assert receiver.got == {
        "WECOM": (path.format("WECOM"), {"msgtype": "markdown", "markdown": {"content": text}}),
        "DINGTALK": (path.format("DINGTALK"), {"msgtype": "text", "text": {"content": text}}),
        "FEISHU": (path.format("FEISHU"), {"msg_type": "text", "content": {"text": text}}),
    }


def test_signatures_are_those_of_the_services(receiver: Receiver, tmp_path: Path) -> None:
    """DingTalk's in the address, of milliseconds; Feishu's in the body, of seconds."""
    secrets = {"DINGTALK_SECRET": "SEC+/=key", "FEISHU_SECRET": "key of feishu"}
    assert notify(receiver.environ(**secrets), summary(tmp_path, item("a"))).returncode == 0
    query = parse_qs(urlsplit(receiver.got["DINGTALK"][0]).query)
    [stamp], [sign], [key] = query["timestamp"], query["sign"], query["key"]
    assert (key, sign) == (KEY, signature("SEC+/=key", f"{stamp}\nSEC+/=key"))
    assert abs(int(stamp) / 1000 - time.time()) < 3_600
    body = receiver.got["FEISHU"][1]
    assert body["sign"] == signature(f"{body['timestamp']}\nkey of feishu", "")
    assert abs(int(body["timestamp"]) - time.time()) < 3_600


def test_nothing_is_sent_if_nothing_is_new(receiver: Receiver, tmp_path: Path) -> None:
    """A trouble comes in the run in which it begins, and in no later one."""
    for items in ([], [item("a", new=False)]):
        assert notify(receiver.environ(), summary(tmp_path, *items)).returncode == 0
    assert receiver.got == {}


def test_what_several_shards_have_is_sent_once(receiver: Receiver, tmp_path: Path) -> None:
    """By its key."""
    files = [summary(tmp_path, item("clock", cause="clock"), name=name) for name in ("1", "2")]
    assert notify(receiver.environ(), *files).returncode == 0
    text = receiver.got["WECOM"][1]["markdown"]["content"]
    assert text.startswith("harvester: 1 new")
    assert text.count("clock") == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"errcode": 93000, "errmsg": f"invalid webhook url {KEY}"},
        {"code": 19021, "msg": "sign match fail"},
        {},
        500,
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ANSWERS)
def test_an_error_is_exit_code_1_and_prints_no_key(
    name: str, answer: Any, receiver: Receiver, tmp_path: Path
) -> None:
    """The other robots get the message all the same."""
    receiver.answers[name] = answer
    done = notify(receiver.environ(), summary(tmp_path, item("a")))
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name}: the robot did not take the message: ")
    assert KEY not in done.stdout + done.stderr
    assert len(receiver.got) == len(ANSWERS)


def test_a_robot_that_is_away_and_none_at_all(receiver: Receiver, tmp_path: Path) -> None:
    """Both are errors, because the message would be lost."""
    away = {"PATH": "/usr/bin:/bin", "WECOM_ROBOT": f"http://127.0.0.1:9/send?key={KEY}"}
    done = notify(away, summary(tmp_path, item("a")))
    assert done.returncode == 1
    assert KEY not in done.stderr
    done = notify({"PATH": "/usr/bin:/bin"}, summary(tmp_path, item("a")))
    assert done.returncode == 1
    assert "WECOM_ROBOT" in done.stderr


def test_a_message_keeps_to_the_limits(receiver: Receiver, tmp_path: Path) -> None:
    """It says that more is left out, and what is there is whole lines."""
    many = [item(str(number), advice=f"{number}: {'公众号' * 60}") for number in range(500)]
    assert notify(receiver.environ(), summary(tmp_path, *many)).returncode == 0
    texts = {
        "WECOM": receiver.got["WECOM"][1]["markdown"]["content"],
        "DINGTALK": receiver.got["DINGTALK"][1]["text"]["content"],
        "FEISHU": receiver.got["FEISHU"][1]["content"]["text"],
    }
    for name, text in texts.items():
        limit = 4_096 if name == "WECOM" else 20_000
        body = text if name == "WECOM" else json.dumps(receiver.got[name][1], ensure_ascii=False)
        assert limit * 0.8 < len(body.encode()) <= limit
        assert text.startswith("harvester: 500 new")
        assert text.endswith("公众号\nand more: harvester status")


def test_one_line_too_many_is_left_out_alone(receiver: Receiver, tmp_path: Path) -> None:
    """All lines that fit are sent, and a last line says that there are more."""
    three = [item(name, advice=f"{name}: {'公众号' * 200}") for name in "abc"]
    assert notify(receiver.environ(), summary(tmp_path, *three)).returncode == 0
    told = receiver.got["WECOM"][1]["markdown"]["content"].splitlines()
    assert len(told) == 4
    assert told[-1] == "and more: harvester status"


def test_a_real_run_is_told(receiver: Receiver, tmp_path: Path) -> None:
    """With its names, in which nothing acts and no person is called, and once."""
    file = tmp_path / "summary.json"
    with sandbox(accounts=2) as wechat:
        manifest = wechat.manifest(["interface_summary"], output=str(tmp_path / "output"))
        manifest["accounts"][0]["name"] = f"<@all> {HOSTILE[0]}"
        wechat.fail(wechat.accounts[0], 48001)
        for expected in (True, False):
            receiver.got.clear()
            file.write_text(json.dumps(harvester.run(manifest).to_dict()))
            assert notify(receiver.environ(), str(file)).returncode == 0
            assert bool(receiver.got) is expected
            if expected:
                text = receiver.got["WECOM"][1]["markdown"]["content"]
                assert "refused 48001 " in text
                assert "<@" not in text
                assert acts(text) == []
