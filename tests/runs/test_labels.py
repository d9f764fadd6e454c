"""Labels of a run: of the caller and of the engine, bounded and inert."""

from __future__ import annotations

from dataclasses import fields
from datetime import date
from pathlib import Path

import orjson
import pytest

from harvester.core.errors import UsageError
from harvester.core.model import DayRange
from harvester.core.text import redaction
from harvester.runs.record.labels import (
    ENGINE_VARIABLES,
    MAX_LABELS,
    MAX_VALUE,
    check_labels,
    engine_labels,
    parse_labels,
    safe,
)
from harvester.runs.record.record import Record
from harvester.runs.record.run_record import as_record
from harvester.storage.derived.derived_runs import RecordedRun
from harvester.storage.state.run_records import HEAD_BYTES
from tests.support.hostile_texts import HOSTILE, acts


def test_labels_are_texts_by_name() -> None:
    """The first sign ends the name, and a value may be empty or of any script."""
    texts = ("team=growth", "query=a=b", "why=", "client=示例 商店", "app.kubernetes.io/name=h")
    assert parse_labels(texts) == {
        "team": "growth",
        "query": "a=b",
        "why": "",
        "client": "示例 商店",
        "app.kubernetes.io/name": "h",
    }
    assert parse_labels(("a=1", "a=1")) == {"a": "1"}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (("growth",), "without a `=`"),
        (("=growth",), "no valid name"),
        (("a b=1",), "no valid name"),
        (("\x1b[31m=1",), "no valid name"),
        ((f"{'x' * 64}=1",), "no valid name"),
        (("a=1", "a=2"), "given twice"),
        ((f"a={'x' * (MAX_VALUE + 1)}",), "too long"),
        (tuple(f"a{number}=1" for number in range(MAX_LABELS + 1)), "21 labels"),
        (("access_token=1",), "named as a secret"),
        (("db.PASSWORD=1",), "named as a secret"),
    ],
)
def test_a_label_that_is_none_is_refused(texts: tuple[str, ...], said: str) -> None:
    """The message names the label, inert, and never its value."""
    with pytest.raises(UsageError) as raised:
        parse_labels(texts)
    assert said in raised.value.problem
    assert acts(raised.value.problem) == []
    assert "xxxxx" * 20 not in raised.value.problem


def test_the_limits_are_those_of_the_messages() -> None:
    """One less is allowed."""
    most = {f"{'x' * 60}{number}": "y" * MAX_VALUE for number in range(MAX_LABELS)}
    assert check_labels(most) == most


def test_an_engine_names_itself_by_its_variables() -> None:
    """Empty ones and all others are left out; a pod is its host's name."""
    assert engine_labels({"GITHUB_RUN_ID": "7", "GITHUB_TOKEN": "s", "CI_JOB_ID": ""}) == {
        "GITHUB_RUN_ID": "7"
    }
    assert engine_labels({"HOSTNAME": "laptop"}) == {}
    pod = {"HOSTNAME": "harvest-28", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert engine_labels({**pod, "JOB_COMPLETION_INDEX": "2"}) == {
        "JOB_COMPLETION_INDEX": "2",
        "KUBERNETES_POD": "harvest-28",
    }


def test_every_variable_of_an_engine_is_documented() -> None:
    """The page lists them, and no other."""
    page = Path(__file__).parents[2].joinpath("docs", "cli.md").read_text("utf-8")
    section = page.partition("### Labels\n")[2].partition("\n## ")[0]
    assert {name for name in ENGINE_VARIABLES if f"`{name}`" in section} == {*ENGINE_VARIABLES}
    assert "`KUBERNETES_POD`" in section


@pytest.mark.parametrize("text", HOSTILE)
def test_a_record_holds_no_label_that_acts(text: str) -> None:
    """Nor a line break."""
    done = Record.begun(Path("jobs.yaml"), 1_779_200_000.0)
    done.labels = {"a": text}
    assert acts(as_record(done)["labels"]["a"]) == []


def test_a_long_label_of_an_engine_is_cut() -> None:
    """A caller's would be refused."""
    assert safe({"a": "long " * 90}) == {"a": ("long " * 90)[: MAX_VALUE - 1] + "…"}


def test_secrets_are_masked_in_labels() -> None:
    """A known one whole or in part, and unknown words that look like one; no id of a commit."""
    redaction.conceal("0123456789abcdef0123456789abcdef")
    commit = "8f3c0a" * 6 + "9b1e"
    assert safe(
        {
            "known": "it is 0123456789abcdef0123456789abcdef",
            "part": "456789abcdef01234567",
            "unknown": "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6",
            "commit": commit,
            "run": "scheduled__2026-05-20T00:00:00+00:00",
        }
    ) == {
        "known": "it is ***",
        "part": "***",
        "unknown": "***",
        "commit": commit,
        "run": "scheduled__2026-05-20T00:00:00+00:00",
    }


def test_the_longest_labels_leave_room_for_the_head_of_a_record() -> None:
    """The last runs are read from its first bytes, wherever the output is."""
    done = Record.begun(Path("/" + "d" * 4000), 1_779_200_000.0)
    longest = {f"{'n' * 60}{number}": "\U0001f600" * MAX_VALUE for number in range(MAX_LABELS)}
    engine = dict.fromkeys([*ENGINE_VARIABLES, "KUBERNETES_POD"], "\U0001f600" * MAX_VALUE)
    done.labels = {**engine, **longest}
    day = date(2026, 5, 20)
    done.suspicious = (DayRange("wx0123456789abcdef", "interface_summary", day, day),) * 100
    data = orjson.dumps(as_record(done), option=orjson.OPT_INDENT_2)
    head = data.partition(b'\n  "attention": ')[0]
    assert len(head) < HEAD_BYTES
    assert b'"suspicious"' not in head
    assert not [each.name for each in fields(RecordedRun) if f'"{each.name}":'.encode() not in head]
