"""Pages of WeChat's documentation in Markdown: what each says about its endpoint.

WeChat writes the tables of these pages as JSON in fenced blocks, a list of objects whose members
are the heads of the columns; tables of bars are read too. Texts outside of the known places are not
read, because the same words mean something else there. Reading never fails: what is not understood
is not there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple, TypeAlias

Row: TypeAlias = dict[str, str]
"""A row of a table, by the heads of the columns."""

_NAME, _TYPE, _TEXT, _CODE, _CODE_TEXT = "参数名", "类型", "说明", "错误码", "错误描述"

_API = re.compile(r"api\.weixin\.qq\.com/datacube/(\w+)")
_PERMISSIONS = re.compile(r"权限集\s*id\s*为\s*[:：]\s*([\d、,，\s]+)")
_SPAN = re.compile(r"(?:跨度|差值|日期范围|时间范围)[^\d\n]{0,16}?(\d{1,3}|一)\s*天")
_SAME_DAY = re.compile(r"同一天")
_RETIRED = re.compile(r"本接口[^。\n]{0,8}(?:停止维护|下线)")
_HEADING = re.compile(r"#{1,6}\s+(?:\[#\]\([^)]*\)\s*)?(.*)")
_FENCE = re.compile(r"\s*(```+|~~~+)")
_RESULT = re.compile(r"\bRes\.([\w.()\[\]]+)")
_ELEMENT = re.compile(r"\((?:Array|array)\)|\[\]")
_MEMBER = re.compile(r'"(\w{1,64})"\s*:')
_CELL = re.compile(r"(?<!\\)\|")
_SAMPLE = re.compile(r"返回(?:数据)?示例")


@dataclass(frozen=True, slots=True)
class OfficialPage:
    """The statements of one page.

    Attributes:
        api: The endpoint's name in its address, ``"getusersummary"``.
        spans: Each number of days that a request may have, by the page's sentences.
        permissions: Ids of the permission sets.
        members: Types of the answer's members by path, ``list.detail.read_user``; list elements
            have no step of their own.
        sample: Names of all members in the sample answer.
        codes: Error codes with WeChat's words for them.
        retired: Whether the page calls the endpoint retired.
    """

    api: str
    spans: frozenset[int]
    permissions: frozenset[int]
    members: Mapping[str, str]
    sample: frozenset[str]
    codes: Mapping[int, str]
    retired: bool


class _Section(NamedTuple):
    title: str
    lines: list[str]


def read_page(text: str) -> OfficialPage | None:
    """Read a page; None if it has no address of an endpoint or no table of the answer."""
    text = text.replace("\\_", "_")
    api = _API.search(text)
    sections = list(_sections(text))
    members = dict(_members(sections))
    if api is None or not members:
        return None
    permissions = _PERMISSIONS.search(text)
    return OfficialPage(
        api=api[1].lower(),
        spans=frozenset(_spans(sections)),
        permissions=frozenset(
            map(int, re.findall(r"\d{1,9}", permissions[1] if permissions else ""))
        ),
        members=members,
        sample=frozenset(_sample(text)),
        codes=dict(_codes(sections)),
        retired=bool(_RETIRED.search(text)),
    )


def _sections(text: str) -> Iterator[_Section]:
    """Split a page at its headings; a line in a fenced block is no heading."""
    section = _Section("", [])
    fenced = False
    for line in text.splitlines():
        fenced ^= bool(_FENCE.match(line))
        heading = None if fenced else _HEADING.fullmatch(line)
        if heading:
            yield section
            section = _Section(heading[1].replace("`", ""), [])
        else:
            section.lines.append(line)
    yield section


def _tables(section: _Section) -> Iterator[Row]:
    """Yield the rows of all tables of a section, with the heads of the columns."""
    lines = iter(section.lines)
    heads: list[str] = []
    for line in lines:
        if _FENCE.match(line):
            yield from _json_rows("\n".join(takewhile(lambda one: not _FENCE.match(one), lines)))
        elif line.lstrip().startswith("|"):
            cells = [cell.strip() for cell in _CELL.split(line.strip().strip("|"))]
            if not heads:
                heads = cells
            elif not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                yield dict(zip(heads, cells, strict=False))
        else:
            heads = []


def _json_rows(text: str) -> Iterator[Row]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        return
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict):
            yield {
                name: value if isinstance(value, str) else str(value) for name, value in row.items()
            }


def _members(sections: list[_Section]) -> Iterator[tuple[str, str]]:
    """Yield the path and the type of each member that the tables of the answer describe."""
    for section in sections:
        result = _RESULT.search(section.title)
        if result:
            prefix = _ELEMENT.sub("", result[1]).strip(".") + "."
        elif "返回体" in section.title or "Response Payload" in section.title:
            prefix = ""
        else:
            continue
        for row in _tables(section):
            name = re.match(r"\w+", row.get(_NAME, ""))
            if name:
                kind = re.search(r"[a-z]+", row.get(_TYPE, "").lower())
                yield prefix + name[0], kind[0] if kind else ""


def _spans(sections: list[_Section]) -> Iterator[int]:
    """Yield the spans that the table of the request and the notes tell."""
    for section in sections:
        if "请求体" in section.title or "Request Payload" in section.title:
            texts = [row.get(_TEXT, "") for row in _tables(section)]
        elif "注意事项" in section.title:
            texts = section.lines
        else:
            continue
        for text in texts:
            yield from (1 if days == "一" else int(days) for days in _SPAN.findall(text))
            if _SAME_DAY.search(text):
                yield 1


def _codes(sections: list[_Section]) -> Iterator[tuple[int, str]]:
    for section in sections:
        if _CODE in section.title:
            for row in _tables(section):
                code = row.get(_CODE, "").replace("`", "")
                if re.fullmatch(r"-?\d{1,10}", code):
                    yield int(code), row.get(_CODE_TEXT, "")


def _sample(text: str) -> Iterator[str]:
    """Yield the names of members in the blocks that follow the words "sample answer"."""
    for place in _SAMPLE.finditer(text):
        lines = iter(text[place.end() :].splitlines())
        if any(_FENCE.match(line) for line in lines):
            for line in takewhile(lambda one: not _FENCE.match(one), lines):
                yield from _MEMBER.findall(line)
