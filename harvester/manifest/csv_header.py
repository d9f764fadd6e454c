"""Mistakes in the first row of an accounts file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TypeAlias

from harvester.core.config.nearest import nearest
from harvester.core.config.references import quote_safe
from harvester.core.model import is_appid

ATTRIBUTE = "attr."
"""Beginning of the columns that are attributes: `attr.client` is the attribute `client`."""

_SEPARATORS = {";": "`;`", "\t": "tabs", "|": "`|`", "，": "`，`"}
_ENGLISH = {
    "公众号": "appid",
    "公众号id": "appid",
    "公众号名称": "name",
    "名称": "name",
    "开发者id": "appid",
    "标签": "tags",
    "开始日期": "begin_date",
    "结束日期": "end_date",
    "密钥": "secret",
    "appsecret": "secret",
    "app_id": "appid",
    "暂停": "paused",
}
"""Usual headings by what they mean, in small letters."""


HeaderMistake: TypeAlias = tuple[int | None, str, str]
"""Index of the cell that is wrong, None for the whole row; the mistake and a hint."""


def mistakes_in(header: Sequence[str], columns: Collection[str]) -> Iterator[HeaderMistake]:
    """Yield what is wrong with a header: one mistake if it is about its form as a whole."""
    if len(header) == 1 and (found := [mark for mark in _SEPARATORS if mark in header[0]]):
        what = f"the cells are separated by {_SEPARATORS[found[0]]}, and not by commas"
        hint = "save it as CSV with commas; several tags of one cell are separated by `;`"
        yield 0, what, hint
    # Said once, because otherwise each of its cells would be an unknown column.
    elif any(map(is_appid, header)):
        hint = "write a first row that names the columns, such as appid,name,tags"
        yield 0, "the first row is an account", hint
    else:
        yield from _mistakes_in_names(header, columns)


def _mistakes_in_names(header: Sequence[str], columns: Collection[str]) -> Iterator[HeaderMistake]:
    """Yield columns in another language as one mistake, and each unknown, double or missing one."""
    meant = {index: name for index, cell in enumerate(header) if (name := _meaning(cell, columns))}
    if meant:
        given = ",".join(quote_safe(header[index]) for index in meant).replace(" ", "")
        what = f"column names are English, in small letters: not {given}"
        yield next(iter(meant)), what, f"write {','.join(meant.values())}"
    names = [meant.get(index, name) for index, name in enumerate(header)]
    hints = ""
    for index, name in enumerate(names):
        is_attribute = name.startswith(ATTRIBUTE) and name != ATTRIBUTE
        if name not in columns and not is_attribute:
            hint = nearest(name, columns)
            hints += hint
            known = f"known are {', '.join(columns)}, {ATTRIBUTE}NAME"
            yield index, f"unknown column{quote_safe(name)}", hint or known
        elif name in names[:index]:
            what = f"the column{quote_safe(name)} comes twice"
            yield index, what, "leave one of them out"
    # The misspelt column is reported already.
    if "appid" not in names and "`appid`" not in hints:
        hint = f"the first line names the columns: {', '.join(columns)}"
        yield None, "there is no column `appid`", hint


def _meaning(cell: str, columns: Collection[str]) -> str:
    """Return the column that a heading most likely means, or an empty text if it is one or none."""
    if cell in columns:
        return ""
    plain = cell.strip().lower().replace(" ", "_").replace("-", "_")
    return plain if plain in columns else _ENGLISH.get(plain, "")
