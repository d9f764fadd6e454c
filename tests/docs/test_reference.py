"""The generated pages: current, and complete by what they are made of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date

import pytest

import harvester
from harvester.catalogue.error_codes import DATA_RULES, PLATFORM_RULES, TOKEN_RULES
from harvester.cli import invoke
from harvester.core.exit_codes import Exit
from harvester.manifest.json_schema import json_schema
from harvester.runs.record.events import RunEnded
from harvester.runs.record.expectations import Expectation
from tests.support.doc_pages import table_rows
from tools.reference import answers, pages, verbs
from tools.reference.__main__ import FOLDER, files


def test_the_pages_are_current() -> None:
    """`python -m tools.reference` writes them anew."""
    made = files()
    stale = [path.name for path, text in made.items() if not _is_same(path.name, text)]
    assert not stale, "run `python -m tools.reference`"
    assert {*FOLDER.iterdir()} == {*made}


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_a_verb_has_an_example_and_a_meaning_for_each_option(verb: str) -> None:
    """Nothing of the help is lost on the way to the page."""
    found = verbs.help_of(verb)
    assert found.summary
    assert found.example or verb == "schema"
    assert all(code for code, _ in found.codes)
    options = [option for panel in found.panels.values() for option in panel]
    assert all(option.meaning and "[" not in option.meaning for option in options), options


def test_every_key_of_the_manifest_is_there_with_its_meaning() -> None:
    """The models of the JSON Schema, and no key without words."""
    text = pages.manifest_keys()
    for model in (json_schema(), *json_schema()["$defs"].values()):
        for name, key in model["properties"].items():
            assert f"| `{name}` |" in text
            assert key["description"], name


def test_the_type_of_a_key_names_each_form_that_it_takes() -> None:
    """A number or a share is not called a number alone, and a reference is in no type."""
    types = {name: row.split(" | ")[1] for name, row in table_rows(pages.manifest_keys()).items()}
    assert types["daily_reserve"] == "integer or text"
    assert types["daily_quota"] == "`auto` or 1 to 1,000,000,000"
    assert types["rate"] == "text"
    assert types["follow_links"] == "true or false"


def test_every_answer_has_its_members_with_types() -> None:
    """The names of the JSON, also where a result in Python has others."""
    found = answers.members(harvester.DatasetPlan)
    assert found["begin_date"] == "day or null"
    assert "begin" not in found
    assert answers.members(harvester.Status)["datasets"].startswith("list of [DatasetSummary]")
    # A member of Python alone is in no sentence either.
    assert "next_requests" in answers.INNER["Status"]
    assert "`next_requests`" not in answers.answers()


@pytest.mark.parametrize(
    ("verb", "argument"), [("explain", "45009"), ("datasets", "article_total_detail")]
)
def test_every_member_of_an_answer_without_a_result_is_there(
    verb: str, argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """At any depth, apart from the codes that have labels."""

    def members(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield name
                yield from members({} if name == "labels" else inner)
        elif isinstance(value, list):
            for inner in value:
                yield from members(inner)

    assert invoke([verb, argument, "--format", "json"]) == Exit.DONE
    found = {*members(json.loads(capsys.readouterr().out))}
    _, _, text = answers.answers().partition(f"\n## {verb}\n")
    assert found <= {*re.findall(r"`(\w+)`", text)}


def test_a_judged_expectation_has_the_members_of_its_page() -> None:
    """Computed ones too, and none that Python alone has."""
    judged = Expectation("user_summary", "complete_by", date(2026, 5, 1), 0.95, 20, 20, "open")
    assert answers.members(Expectation).keys() == judged.to_dict().keys()
    assert "`lacking`" not in answers.answers()


def test_every_member_of_a_line_is_there() -> None:
    """Those of an event as it is printed, and of the log."""
    text = pages.event_lines()
    ended = RunEnded(0.0, "run", None, 0, "complete", (), None, 0, 0, 0.0)
    for name, members in (("run_ended", ended.to_dict()), ("log", ["level", "logger", "message"])):
        _, _, told = text.partition(f"## {name}\n")
        assert {*members} <= {*re.findall(r"`(\w+)`", told.partition("\n## ")[0])}


def test_every_error_code_is_there() -> None:
    """Codes of data calls, token calls and calls of a platform."""
    text = pages.error_codes()
    for code in {*DATA_RULES, *TOKEN_RULES, *PLATFORM_RULES}:
        assert f"| {code} |" in text


def test_every_public_name_is_there() -> None:
    """Functions, errors and types of the package."""
    text = pages.python_api()
    for name in dir(harvester):
        assert name.startswith("_") or f"### {name}\n" in text


def test_every_variable_is_there_once() -> None:
    """With the verbs whose option it sets."""
    rows = table_rows(verbs.variables())
    assert len(rows) > 40
    assert "[run](run.md)" in rows["HARVESTER_MAX_DURATION"]


def _is_same(name: str, text: str) -> bool:
    path = FOLDER / name
    return path.exists() and path.read_text("utf-8") == text
