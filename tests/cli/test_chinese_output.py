"""The summary of a run and `status` in Chinese: chosen as everywhere, and for people alone."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester import run as run_in_python
from harvester.cli import invoke
from harvester.cli.output.markdown_summary import run_text
from harvester.core.exit_codes import Exit
from harvester.runs.record.record import Record
from harvester.testing import Sandbox, sandbox
from tests.support.run_harness import newest_days

CHINESE = re.compile(r"[\u4e00-\u9fff]")
SUMMARY = ("run", "--progress", "none", "--log-level", "error")


class Stage:
    """Commands on a manifest of three accounts, of which WeChat refuses one."""

    def __init__(self, folder: Path, wechat: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        self.wechat, self.folder, self._capsys = wechat, folder, capsys
        self.manifest: dict[str, Any] = wechat.manifest(
            ["interface_summary", "user_summary"], output=str(folder / "output"), **newest_days(5)
        )
        self.file = folder / "jobs.yaml"
        self.file.write_text(json.dumps(self.manifest))
        wechat.fail(wechat.accounts[0], 48001)
        self.code = Exit.DONE

    def __call__(self, verb: str, *options: str) -> str:
        """Return what a command prints, stdout before stderr."""
        self._capsys.readouterr()
        self.code = Exit(invoke([verb, str(self.file), *options]))
        printed = self._capsys.readouterr()
        return printed.out + printed.err


@pytest.fixture
def stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """A folder without an output, on a machine without a locale."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "HARVESTER_LANG"):
        monkeypatch.delenv(name, raising=False)
    with sandbox(accounts=3) as wechat:
        yield Stage(tmp_path, wechat, capsys)


def test_a_summary_and_status_speak_chinese(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the option or the variable; the option wins."""
    summary = stage(*SUMMARY, "--lang", "zh")
    assert stage.code == Exit.INCOMPLETE
    assert "  被拒绝  10 个账号日\n" in summary
    assert "部分完成：已结束，但部分应采日期未能取得\n" in summary
    assert "请完成账号认证" in summary
    assert re.search(r"^    harvester status .* --lang zh$", summary, re.MULTILINE)
    shown = stage("status", "--lang", "zh")
    assert "不完整：有缺失日期\n" in shown
    assert "  新：被微信拒绝（48001），" in shown
    assert "部分完成，退出码 3（被拒绝）" in shown
    monkeypatch.setenv("HARVESTER_LANG", "zh")
    assert stage("status") == shown.replace(" --lang zh", "")
    assert "incomplete: days are missing\n" in stage("status", "--lang", "en")


@pytest.mark.parametrize("options", [(), ("--require", "yesterday"), ("--by", "account")])
def test_json_and_exit_codes_are_the_same_in_both_languages(
    stage: Stage, options: tuple[str, ...]
) -> None:
    """Programs read no language, also in the record that a run in Chinese leaves."""
    stage(*SUMMARY, "--lang", "zh", "--summary", str(stage.folder / "summary.json"))
    first = stage.code
    record = (stage.folder / "summary.json").read_text("utf-8")
    assert not CHINESE.search(record)
    assert "Verify the account" in json.loads(record)["attention"][0]["advice"]
    stage(*SUMMARY)
    assert stage.code == first == Exit.INCOMPLETE
    english = stage("status", "--format", "json", *options)
    code = stage.code
    assert stage("status", "--format", "json", *options, "--lang", "zh") == english
    assert stage.code == code


def test_the_locale_decides_only_what_a_terminal_shows(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a pipe, not a file, and not what Python returns."""
    page = stage.folder / "page.md"
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert not CHINESE.search(stage(*SUMMARY) + stage("status"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert CHINESE.search(stage(*SUMMARY, "--summary-markdown", str(page)))
    assert not CHINESE.search(page.read_text("utf-8"))
    assert not CHINESE.search(stage("status"))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert CHINESE.search(stage("status"))
    assert not CHINESE.search(stage("status", "--lang", "en"))


def test_a_page_of_a_run_has_the_chosen_language(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of the option, the step of a runner, and the message of a pod."""
    page, step, pod = (stage.folder / name for name in ("page.md", "step.md", "termination-log"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("TERMINATION_LOG_PATH", str(pod))
    pod.touch()
    stage(*SUMMARY, "--summary-markdown", str(page), "--lang", "zh")
    text = page.read_text("utf-8")
    assert "## harvester run：部分完成（3）：" in text
    assert "### 需人工处理：1 项，其中新增 1 项\n" in text
    assert "| 开始时间 | 原因 | 账号 | 数据集 | 缺失天数 | 处理办法 |" in text
    assert "| **新** | 被微信拒绝（48001） |" in text
    assert "该账号没有此接口的权限。请完成账号认证" in text
    assert text in step.read_text("utf-8")
    assert pod.read_text("utf-8") == text


def test_python_speaks_english(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the variable says."""
    monkeypatch.setenv("HARVESTER_LANG", "zh")
    done = run_in_python(stage.file)
    assert str(done).startswith("partial: refused\n")
    assert "the account may not use this API. Verify the account" in str(done)
    assert not CHINESE.search(str(done))
    assert not CHINESE.search(json.dumps(done.to_dict()))


def test_a_mistake_is_told_in_english(stage: Stage) -> None:
    """So are help, plans and errors."""
    stage.file.write_text("version: 9")
    assert not CHINESE.search(stage("status", "--lang", "zh") + stage(*SUMMARY, "--lang", "zh"))
    assert stage.code == Exit.USAGE


def test_a_run_under_way_has_a_chinese_page() -> None:
    """It is written before the end."""
    page = run_text(Record(run_id="r-1", shard="2/8"), language="zh").decode()
    assert page.startswith(
        "## harvester run：进行中\n\n运行 r-1（分片 2/8）：0 次请求、0 行新数据、"
    )
