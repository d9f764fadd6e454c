"""Mistakes of the first row of a CSV file as a whole, told once and not for each of its cells."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from harvester.core.config.references import quote_safe
from harvester.core.model import is_appid

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


class HeaderMistake(NamedTuple):
    """A mistake in several cells of a header, shown at the index of the ``first``.

    ``meant`` has the columns that the cells mean by their indices, and is empty if nothing else of
    the header can be judged.
    """

    first: int
    what: str
    hint: str
    meant: dict[int, str]


def mistake_of(header: Sequence[str], columns: Collection[str]) -> HeaderMistake | None:
    """Return what is wrong with the form of a header: its separator, its language, its absence."""
    if len(header) == 1 and (found := [mark for mark in _SEPARATORS if mark in header[0]]):
        what = f"the cells are separated by {_SEPARATORS[found[0]]}, and not by commas"
        hint = "save it as CSV with commas; several tags of one cell are separated by `;`"
        return HeaderMistake(0, what, hint, {})
    if any(map(is_appid, header)):
        hint = "write a first row that names the columns, such as appid,name,tags"
        return HeaderMistake(0, "the first row is an account", hint, {})
    meant = {index: name for index, cell in enumerate(header) if (name := _meaning(cell, columns))}
    if not meant:
        return None
    given = ",".join(quote_safe(header[index]) for index in meant).replace(" ", "")
    what = f"column names are English, in small letters: not {given}"
    return HeaderMistake(next(iter(meant)), what, f"write {','.join(meant.values())}", meant)


def _meaning(cell: str, columns: Collection[str]) -> str:
    """Return the column that a heading most likely means, or an empty text if it is one or none."""
    if cell in columns:
        return ""
    plain = cell.strip().lower().replace(" ", "_").replace("-", "_")
    return plain if plain in columns else _ENGLISH.get(plain, "")
