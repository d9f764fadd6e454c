"""The Chinese texts of the catalogue: complete, marked, and in the terms that were agreed."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import pytest

from harvester.catalogue import CATALOGUE, languages
from harvester.catalogue.descriptions import members
from harvester.catalogue.error_codes import (
    DATA_RULES,
    INTERNAL_ERROR_RULE,
    PLATFORM_RULES,
    TOKEN_RULES,
    rule_for,
)
from harvester.catalogue.languages import (
    column_label,
    dataset_in,
    dataset_label,
    rule_in,
    translations,
)
from harvester.cli import invoke
from harvester.cli.commands import explain
from harvester.core.dataset import Column
from harvester.core.exit_codes import Exit
from harvester.core.rule import Action, Rule, Scope
from harvester.runs.record.account_report import DayCounts
from tests.support.import_graph import MODULES
from tests.support.message_ids import message_ids

TEXTS: dict[str, Any] = json.loads(
    (resources.files("harvester.catalogue") / "texts.json").read_text("utf-8")
)
RULES: list[Rule] = [
    *(rule for table in (DATA_RULES, TOKEN_RULES, PLATFORM_RULES) for rule in table.values()),
    rule_for(99_999),
    INTERNAL_ERROR_RULE,
]
COLUMNS = [
    (dataset.name, column)
    for dataset in CATALOGUE.values()
    for _, column in members(dataset.columns)
]
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def english_texts() -> set[str]:
    """Return every sentence of the catalogue."""
    about = (text for each in CATALOGUE.values() for text in (each.description, *each.notes))
    return {
        *about,
        *(column.meaning for _, column in COLUMNS),
        *(text for rule in RULES for text in (rule.meaning, rule.advice)),
    }


def rules_of_the_code() -> Iterator[Rule]:
    """Yield the rules of what is no answer of WeChat's."""
    for module in MODULES:
        if module.room in {"wechat", "scheduling"}:
            values = vars(importlib.import_module(f"harvester.{module.name}")).values()
            yield from (value for value in values if isinstance(value, Rule))


def messages() -> set[str]:
    """Return what the package says in a language."""
    return {
        *message_ids(),
        *(text for rule in rules_of_the_code() for text in (rule.meaning, rule.advice)),
        *(scope.value for scope in Scope),
        *DayCounts._fields[2:-1],
        ", ",
    }


def has_words(text: str) -> bool:
    """Return whether a template is more than places and blanks."""
    return re.search("[A-Za-z:;,.()]", re.sub("{[^}]*}", "", text)) is not None


def entries() -> Iterator[tuple[str, Any]]:
    """Yield each Chinese text with its place in the file."""
    for section in ("datasets", "columns"):
        for name, both in TEXTS[section].items():
            yield f"{section} {name}", both["zh"]
    for column, labels in TEXTS["codes"].items():
        for code, label in labels.items():
            yield f"codes {column} {code}", label
    for section in ("units", "sentences"):
        for text, found in TEXTS[section].items():
            yield f"{section} {text}", found


def test_every_text_has_a_chinese_one_and_no_other_is_kept() -> None:
    """Names, labels, units, meanings, notes and remedies; none whose English has gone."""
    assert TEXTS["datasets"].keys() == CATALOGUE.keys()
    names = {name.rpartition(".")[2] for name in TEXTS["columns"]}
    assert names == {column.name for _, column in COLUMNS}
    special = {name for name in TEXTS["columns"] if "." in name}
    assert special <= {f"{dataset}.{column.name}" for dataset, column in COLUMNS}
    codes = {column.name: {*map(str, column.labels)} for _, column in COLUMNS if column.labels}
    assert {name: {*labels} for name, labels in TEXTS["codes"].items()} == codes
    assert TEXTS["units"].keys() == {column.unit for _, column in COLUMNS} - {""}
    every = english_texts() | messages()
    assert {*filter(has_words, every)} <= TEXTS["sentences"].keys() <= every


def test_a_name_is_short_in_both_languages() -> None:
    """It is a heading of a table."""
    for dataset in CATALOGUE:
        assert len(dataset_label(dataset, "zh")) <= 12 < len(dataset_label(dataset, "en")) <= 42
    for dataset, column in COLUMNS:
        assert len(column_label(dataset, column.name, "zh")) <= 13
        assert len(column_label(dataset, column.name, "en")) <= 30


def test_what_is_quoted_names_a_page_of_wechat() -> None:
    """All other texts are ours, and each page is named by one."""
    quoted = [(place, text) for place, text in entries() if not isinstance(text, str)]
    assert all(text.keys() == {"quote", "page"} for _, text in quoted)
    assert {text["page"] for _, text in quoted} == TEXTS["pages"].keys()
    for page in TEXTS["pages"].values():
        assert urlsplit(page).scheme == "https"
        assert urlsplit(page).hostname in {"developers.weixin.qq.com", "mp.weixin.qq.com"}
    for dataset, both in TEXTS["datasets"].items():
        name = both["zh"]["page"]
        assert name in {CATALOGUE[dataset].api, "analytics", "messages"}


def test_the_same_places_are_in_both_languages() -> None:
    """A value that one language names stands in the other."""
    for text in english_texts() | messages():
        # A template may name a value twice, and the other language once.
        places = (set(re.findall(r"{[^}]*}", each)) for each in (text, _zh(text)))
        assert len(set(map(frozenset, places))) == 1, text


def _zh(text: str) -> str:
    return translations("zh").gettext(text)


def test_the_texts_keep_to_the_terms_and_to_chinese_punctuation() -> None:
    """No word that means something else at WeChat, no half-width mark beside Chinese."""
    wrong = re.compile(
        r"阅读量|阅读次数|客服|图文|帐号|在看|点赞数"
        r"|[\u4e00-\u9fff] ?[,;:?!()]|[,;:?!()][\u4e00-\u9fff]"
    )
    for place, entry in entries():
        text = entry if isinstance(entry, str) else entry["quote"]
        assert text == text.strip(), place
        assert "  " not in text, place
        assert not wrong.search(text), place
    for text in english_texts() | messages():
        assert text.endswith(".") is _zh(text).endswith("。"), text
    for name, term in {"zaikan_user": "爱心赞人数", "like_user": "拇指赞人数"}.items():
        assert column_label("biz_summary", name, "zh") == term


def test_a_dataset_and_a_rule_in_chinese_differ_in_nothing_but_texts() -> None:
    """Names, codes, key and reaction are the same."""

    def shape(column: Column) -> tuple[object, ...]:
        return column.name, column.kind, [*column.labels], [*map(shape, column.fields)]

    for dataset in CATALOGUE.values():
        chinese = dataset_in(dataset, "zh")
        assert dataset_in(dataset, "en") is dataset
        assert [*map(shape, chinese.columns)] == [*map(shape, dataset.columns)]
        assert (chinese.name, chinese.key, chinese.source) == (
            dataset.name,
            dataset.key,
            dataset.source,
        )
        assert all(CHINESE.search(text) for text in (chinese.description, *chinese.notes))
    for rule in RULES:
        assert rule_in(rule, "en") == rule
        chinese_rule = rule_in(rule, "zh")
        assert (chinese_rule.action, chinese_rule.scope) == (rule.action, rule.scope)
        assert CHINESE.search(chinese_rule.meaning)
        assert CHINESE.search(chinese_rule.advice)


def test_a_text_without_a_chinese_one_stays_english() -> None:
    """A rule that is not WeChat's is readable too."""
    rule = Rule(Action.STOP, Scope.RUN, "the disk is full", "Make room.")
    assert rule_in(rule, "zh") == rule


def test_a_command_in_english_does_not_read_the_texts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither help nor an explanation pays for them."""
    monkeypatch.setattr(languages, "_texts", lambda: pytest.fail("the texts were read"))
    for words in (["--help"], ["datasets", "--help"], ["explain", "45009"], ["datasets"]):
        assert invoke(words) == Exit.DONE
    assert "the daily quota of this API is spent" in capsys.readouterr().out


@pytest.mark.parametrize("dataset", CATALOGUE)
def test_a_description_in_chinese(dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line has Chinese but for the rows whose cells are names and numbers, and the SQL."""
    assert invoke(["datasets", dataset, "--lang", "zh"]) == Exit.DONE
    head, _, rest = capsys.readouterr().out.partition("\n\n")
    facts, table, *_ = rest.split("\n\n")
    assert all(CHINESE.search(line) for line in (head, *facts.splitlines(), *table.splitlines()))
    assert dataset_label(dataset, "zh") in facts


@pytest.mark.parametrize("code", ["-1", "40001", "45009", "50002", "99999"])
def test_an_explanation_in_chinese(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Meaning, reaction, scope and advice of both kinds of calls."""
    assert invoke(["explain", code, "--lang", "zh"]) == Exit.DONE
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert lines[0].startswith(f"{code}：")
    assert all(CHINESE.search(line) for line in lines)
    assert {action for rule in RULES for action in [rule.action]} <= explain.DOES.keys()


def test_json_has_the_chosen_language_and_the_same_members(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The variable chooses as the option does; values that programs compare do not change."""

    def found(*words: str) -> Any:
        assert invoke([*words, "--format", "json"]) == Exit.DONE
        return json.loads(capsys.readouterr().out)

    [english] = found("datasets", "user_summary")
    rule = found("explain", "45009")["data"]
    monkeypatch.setenv("HARVESTER_LANG", "zh")
    [chinese] = found("datasets", "user_summary")
    assert chinese.keys() == english.keys()
    assert (english["label"], chinese["label"]) == ("Followers gained and lost", "用户增减数据")
    assert english["columns"][1]["labels"]["30"] == "QR code"
    assert chinese["columns"][1]["labels"]["30"] == "扫描二维码"
    assert chinese["columns"][1]["label"] == "用户的渠道"
    explained = found("explain", "45009")["data"]
    assert explained["meaning"] == "该接口当天的调用额度已用完"
    assert explained["scope"] == rule["scope"] == "dataset of the account"
    assert found("datasets", "user_summary", "--lang", "en") == [english]


def test_the_locale_decides_nothing_but_text_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file has the same texts on every machine."""

    def says(*words: str) -> str:
        assert invoke(["explain", "45009", *words]) == Exit.DONE
        return capsys.readouterr().out

    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert "daily quota" in says()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "调用额度" in says()
    assert "daily quota" in says("--lang", "en")
    assert "daily quota" in says("--format", "json")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert "daily quota" in says()
