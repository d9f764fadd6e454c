"""The catalogue against WeChat's documentation: pages written by hand in WeChat's form.

A page of ``tests/tools/pages`` says what the endpoint's page said when the catalogue was made,
in WeChat's headings and tables. The catalogue was no source of it.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harvester.catalogue import CATALOGUE, RETIRED
from harvester.core.dataset import api_of
from harvester.core.exit_codes import Exit
from harvester.core.text.inert_text import inert_line
from tools.catalogue import __main__ as program
from tools.catalogue import official_page
from tools.catalogue.drift import addresses, differences
from tools.catalogue.official_page import read_page
from tools.catalogue.page_download import Pages

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "pages"
TEXTS = {file.stem.removeprefix("api_"): file.read_text("utf-8") for file in FOLDER.iterdir()}
LIVE = [dataset.api for dataset in CATALOGUE.values()]
OLD = [*map(api_of, RETIRED)]

USERS, ARTICLES = "getusersummary", "getarticletotaldetail"


def told(api: str, text: str | None) -> list[tuple[str, str]]:
    """The differences of one page: kind and sentence."""
    return [(kind, words) for _, kind, words in differences({api: text})]


def swapped(api: str, old: str, new: str) -> str:
    """The page with another text in the place of one that it has."""
    assert old in TEXTS[api]
    return TEXTS[api].replace(old, new)


def test_there_is_a_page_for_every_endpoint() -> None:
    """All endpoints have a page and an address over HTTPS, on WeChat's site."""
    assert sorted(TEXTS) == sorted([*LIVE, *OLD])
    assert addresses().keys() == TEXTS.keys()
    prefix = "https://developers.weixin.qq.com/doc/service/api/wedata/"
    assert all(one.startswith(prefix) and one.endswith(".md") for one in addresses().values())
    assert addresses()[USERS] == f"{prefix}user/api_getusersummary.md"


@pytest.mark.parametrize("api", [*LIVE, *OLD])
def test_the_catalogue_agrees_with_the_pages(api: str) -> None:
    """No page differs from the catalogue, and each was understood."""
    page = read_page(TEXTS[api])
    assert page is not None
    assert page.api == api
    assert page.retired is (api in OLD)
    assert told(api, TEXTS[api]) == []


DRIFTS = [
    (USERS, "最大跨度7天", "最大跨度3天", "span", "the page says 3, the catalogue 7 days"),
    (USERS, "最大跨度7天", "以页面为准", "span", "the page says none, the catalogue 7 days"),
    (
        USERS,
        "每日8点后获取前一天数据",
        "最大时间跨度为一天",
        "span",
        "the page says 1 and 7, the catalogue 7 days",
    ),
    (
        ARTICLES,
        "日期范围仅支持查询1天",
        "日期范围最大支持查询30天",
        "span",
        "the page says 30, the catalogue 1 days",
    ),
    (
        USERS,
        "id 为：2",
        "id 为：2、18",
        "permission set",
        "the page says 2 and 18, the catalogue 2",
    ),
    (USERS, "权限集", "权限", "permission set", "the page says none, the catalogue 2"),
    (
        USERS,
        '"参数名": "user_source",\n    "类型": "number"',
        '"参数名": "user_source",\n    "类型": "string"',
        "type",
        "list.user_source is string there, int64 here",
    ),
    (
        ARTICLES,
        '"参数名": "read_finish_rate",\n    "类型": "number"',
        '"参数名": "read_finish_rate",\n    "类型": "integer"',
        "type",
        "list.detail_list.read_finish_rate is integer there, float64 here",
    ),
    (ARTICLES, '"boolean"', '"number"', "type", "is_delay is number there"),
    (
        USERS,
        '"错误码": "61503"',
        '"错误码": "61509"',
        "new code",
        "61509 (data not ready, please try later) is not in the table of error codes",
    ),
    (
        USERS,
        "本接口用于获取用户增减数据",
        "**注意：本接口即将停止维护**",
        "retired",
        "the page calls the endpoint retired",
    ),
    (
        USERS,
        "datacube/getusersummary",
        "datacube/getuserstatistics",
        "form",
        "the page is about getuserstatistics",
    ),
]


@pytest.mark.parametrize(
    ("api", "old", "new", "kind", "words"), DRIFTS, ids=[f"{d[3]}: {d[4]}" for d in DRIFTS]
)
def test_each_drift_is_told(api: str, old: str, new: str, kind: str, words: str) -> None:
    """One change on a page is one difference, of its kind."""
    assert told(api, swapped(api, old, new)) == [(kind, words)]


def test_a_member_that_the_page_dropped_is_told() -> None:
    """A member is missing only if neither the tables nor the sample have it."""
    page = swapped(USERS, '"参数名": "cancel_user"', '"参数名": "lost_user"')
    new = ("new member", "the catalogue has no list.lost_user (number)")
    assert told(USERS, page) == [new]
    without = page.replace('"cancel_user": 0', '"lost_user": 0')
    assert told(USERS, without) == [("missing member", "the page has no list.cancel_user"), new]


def test_a_member_of_a_list_is_told_with_its_path() -> None:
    """Members of nested lists have the steps to them."""
    page = TEXTS[ARTICLES].replace("user_count", "reader_count")
    assert told(ARTICLES, page) == [
        ("missing member", "the page has no list.detail_list.read_user_source.user_count"),
        (
            "new member",
            "the catalogue has no list.detail_list.read_user_source.reader_count (number)",
        ),
    ]


def test_a_new_member_of_the_sample_is_told() -> None:
    """WeChat's tables forget members, so the sample counts too."""
    page = swapped(USERS, '"new_user": 0', '"new_user": 0, "gender": 1')
    assert told(USERS, page) == [("new member", "the catalogue has no gender of the page's sample")]


def test_a_member_that_is_not_required_may_be_missing() -> None:
    """A title of an article stands in samples of some pages alone."""
    page = swapped(ARTICLES, '"title": "标题",', "").replace('"content_url"', '"title"')
    assert told(ARTICLES, page) == []


def test_a_page_that_is_gone_is_told() -> None:
    """A live endpoint must have a page; one of a retired endpoint may go."""
    [(kind, words)] = told(USERS, None)
    assert kind == "page"
    assert words.startswith("there is no page at https://developers.weixin.qq.com/")
    assert told("getuserread", None) == []


def test_an_endpoint_that_is_back_is_told() -> None:
    """A retired endpoint whose page has lost its notice may be live again."""
    page = swapped("getuserread", "已停止维护", "已更新")
    assert [kind for kind, _ in told("getuserread", page)] == ["retired"]


def as_bars(text: str) -> str:
    """The page with tables of bars in the place of those of JSON, as browsers get it."""
    parts = text.split("```json\n")
    for number, part in enumerate(parts[1:], 1):
        block, _, rest = part.partition("\n```")
        rows = json.loads(block)
        if isinstance(rows, list):
            lines = [[*rows[0]], ["---"] * len(rows[0]), *([*row.values()] for row in rows)]
            table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
            parts[number] = table.replace("_", "\\_") + rest
        else:
            parts[number] = f"```json\n{part}"
    return "".join(parts)


@pytest.mark.parametrize("api", LIVE)
def test_both_forms_of_tables_are_read(api: str) -> None:
    """A table of bars says the same as one of JSON."""
    assert "| ref\\_date | string |" in as_bars(TEXTS[api])
    assert read_page(as_bars(TEXTS[api])) == read_page(TEXTS[api])


STRANGERS: list[tuple[str, Callable[[str], str]]] = [
    ("nothing", lambda _: ""),
    ("a page of HTML", lambda _: "<!DOCTYPE html><html><body>请登录</body></html>"),
    (
        "other headings",
        lambda text: text.replace("Response Payload", "").replace("返回体", "").replace("Res.", ""),
    ),
    ("no address", lambda text: text.replace("/datacube/", "/")),
    ("broken tables", lambda text: text.replace("  }\n]", "")),
    ("tables of texts", lambda text: text.replace("{\n", '"').replace("}", '"')),
    ("deep tables", lambda text: text.replace("[\n", "[" * 100_000)),
]


@pytest.mark.parametrize("change", [c for _, c in STRANGERS], ids=[name for name, _ in STRANGERS])
def test_another_form_is_a_difference(change: Callable[[str], str]) -> None:
    """A page of another form is told as such, and is no error."""
    assert told(USERS, change(TEXTS[USERS])) == [("form", "the page's form was not understood")]


def _damaged() -> Iterator[tuple[str, str]]:
    chance = random.Random(14)
    for api, text in TEXTS.items():
        for _ in range(20):
            yield api, text[: chance.randrange(len(text))]
            begin, end = sorted(chance.choices(range(len(text)), k=2))
            yield api, text[:begin] + text[end:]
            yield api, "".join(chance.sample(text, len(text)))


def test_no_damage_is_an_error() -> None:
    """Pages cut, holed or shuffled give differences, or none, and never an exception."""
    kinds = {kind for api, text in _damaged() for kind, _ in told(api, text)}
    assert {"form", "missing member", "span", "permission set"} <= kinds


def test_words_of_a_page_are_inert() -> None:
    """Whatever a page says cannot act in a terminal, on a runner or in Markdown."""
    bad = "\x1b[2J ::error::x <img src=x> [a](b)"
    page = swapped(USERS, "data not ready, please try later", bad.replace("\x1b", "\\u001b"))
    page = page.replace('"错误码": "61503"', '"错误码": "61509"')
    [(kind, words)] = told(USERS, page)
    assert kind == "new code"
    assert inert_line(words) == words
    assert not any(active in words for active in ("\x1b", "::", "<img", "]("))


def test_the_program_is_started_by_its_module() -> None:
    """It ends with 0 without a difference."""
    command = [sys.executable, "-m", "tools.catalogue", "check", str(FOLDER)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (Exit.DONE, b"0 differences in 21 pages\n")


def test_the_program_reads_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with 3 and prints each difference."""
    for api, text in TEXTS.items():
        (tmp_path / f"api_{api}.md").write_text(text, "utf-8")
    (tmp_path / f"api_{USERS}.md").write_text(swapped(USERS, "最大跨度7天", "最大跨度3天"), "utf-8")
    (tmp_path / f"api_{ARTICLES}.md").unlink()
    assert program.main(["check", str(tmp_path)]) == Exit.INCOMPLETE
    assert capsys.readouterr().out.splitlines() == [
        "getusersummary: span: the page says 3, the catalogue 7 days",
        f"{ARTICLES}: page: there is no page at {addresses()[ARTICLES][:-3]}.html",
        "2 differences in 21 pages",
    ]


@pytest.mark.parametrize("arguments", [("chek",), ("check", "a", "b"), ("check", "no such folder")])
def test_a_mistake_in_the_arguments_is_a_usage_error(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is compared, and nothing stands in the answer."""
    assert program.main(arguments) == Exit.USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "check" in printed.err or arguments[-1] in printed.err


def test_a_page_that_was_not_fetched_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program ends with 75, and the differences of the other pages are printed."""

    async def fetch(addresses: dict[str, str]) -> Pages:
        pages: dict[str, str | None] = {**TEXTS, USERS: None}
        assert addresses.keys() == pages.keys()
        del pages[ARTICLES]
        return Pages(pages, {ARTICLES: "HTTP 503 ::error::"})

    monkeypatch.setattr(program, "fetch_pages", fetch)
    assert program.main(["check"]) == Exit.AGAIN
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{USERS}: page: there is no page at ")
    assert second == rf"{ARTICLES}: not fetched: HTTP 503 \x3a:error\x3a:"
    assert last == "1 differences in 20 pages"


def test_tables_with_other_rows_and_samples_without_a_block_say_nothing() -> None:
    """A row that is no object is passed over, and so is the title of a sample that never comes."""
    assert list(official_page._json_rows('[1, {"a": 2}]')) == [{"a": "2"}]
    assert list(official_page._sample("返回示例\nno block follows")) == []
