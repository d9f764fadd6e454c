"""Differences between WeChat's documentation and the catalogue.

A page that is silent about something is a difference like any other, since a sentence that is
worded anew would hide a change. The exceptions are what the catalogue knows from elsewhere: members
that are not required, error codes, and members that only the sample of an answer shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from harvester.catalogue import CATALOGUE, RETIRED
from harvester.catalogue.error_codes import is_known
from harvester.core.dataset import PAGES, Column, Dataset, Kind, api_of
from harvester.core.text.inert_text import inert
from tools.catalogue.official_page import OfficialPage, read_page

_TYPES = {
    Kind.COUNT: {"number", "int", "integer", "long"},
    Kind.RATE: {"number", "float", "double"},
    Kind.TEXT: {"string"},
    Kind.HOUR: {"number", "int", "integer"},
    Kind.DATE: {"string"},
    Kind.LIST: {"objarray", "array", "object"},
}
"""Names of the types on the pages. ``object`` stands there for lists of objects too."""

_FRAME = {"list": {"objarray", "array", "object"}, "errcode": {"number"}, "errmsg": {"string"}}
_DELAY = {"is_delay": {"boolean", "bool"}}


class Difference(NamedTuple):
    """One difference: the endpoint's name, its kind, and a sentence without foreign effects."""

    api: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.api}: {self.kind}: {self.text}"


def addresses() -> dict[str, str]:
    """Return the address of each page in Markdown, by the endpoint's name; retired ones last."""
    sources = {dataset.api: dataset.source for dataset in CATALOGUE.values()}
    sources |= {api: f"{PAGES}/news/api_{api}.html" for api in map(api_of, RETIRED)}
    return {api: f"{source.removesuffix('.html')}.md" for api, source in sources.items()}


def differences(pages: Mapping[str, str | None]) -> list[Difference]:
    """Compare pages, by the endpoint's name, with the catalogue; None is a page that is gone."""
    live = {dataset.api: dataset for dataset in CATALOGUE.values()}
    found = []
    for api, text in pages.items():
        told = _of_dataset(live[api], text) if api in live else _of_retired(text)
        found += [Difference(api, kind, words) for kind, words in told]
    return found


def _of_retired(text: str | None) -> Iterator[tuple[str, str]]:
    page = read_page(text) if text is not None else None
    if page and not page.retired:
        yield "retired", "the page does not call the endpoint retired any more"


def _of_dataset(dataset: Dataset, text: str | None) -> Iterator[tuple[str, str]]:
    if text is None:
        yield "page", f"there is no page at {dataset.source}"
        return
    page = read_page(text)
    if page is None:
        yield "form", "the page's form was not understood"
        return
    if page.api != dataset.api:
        yield "form", f"the page is about {inert(page.api)}"
        return
    if page.retired:
        yield "retired", "the page calls the endpoint retired"
    yield from _of_numbers("span", page.spans, dataset.span, "days")
    yield from _of_numbers("permission set", page.permissions, dataset.permission, "")
    yield from _of_members(dataset, page)
    for code, words in page.codes.items():
        if code and not is_known(code):
            yield "new code", f"{code} ({inert(words)}) is not in the table of error codes"


def _of_numbers(
    kind: str, told: frozenset[int], known: int, unit: str
) -> Iterator[tuple[str, str]]:
    if told != {known}:
        numbers = " and ".join(map(str, sorted(told))) or "none"
        yield kind, f"the page says {numbers}, the catalogue {known} {unit}".rstrip()


def _of_members(dataset: Dataset, page: OfficialPage) -> Iterator[tuple[str, str]]:
    expected = dict(_expected(dataset))
    frame = _frame(dataset)
    known = {path.rpartition(".")[2] for path in (*expected, *frame, *page.members)}
    for path, column in expected.items():
        kind = page.members.get(path)
        if kind is None:
            if column.required and column.name not in page.sample:
                yield "missing member", f"the page has no {path}"
        elif kind not in _TYPES[column.kind]:
            yield "type", f"{path} is {inert(kind) or 'untyped'} there, {column.kind.value} here"
    for path, kind in page.members.items():
        types = frame.get(path)
        if types is None and path not in expected:
            yield "new member", f"the catalogue has no {inert(path)} ({inert(kind)})"
        elif types is not None and kind not in types:
            yield "type", f"{path} is {inert(kind) or 'untyped'} there"
    for name in sorted(page.sample - known):
        yield "new member", f"the catalogue has no {inert(name)} of the page's sample"


def _frame(dataset: Dataset) -> dict[str, set[str]]:
    """Return the types of the members around the rows, by path."""
    frame = {**_FRAME, **(_DELAY if dataset.may_be_delayed else {})}
    if dataset.nested_field:
        frame[f"list.{dataset.nested_field}"] = {"object", "objarray", "array"}
    return frame


def _expected(dataset: Dataset) -> Iterator[tuple[str, Column]]:
    """Yield each column with the path of its member in an answer."""
    for column in dataset.columns:
        path = f"list.{dataset.nested_field}." if column.nested else "list."
        yield path + column.name, column
        for field in column.fields:
            yield f"{path}{column.name}.{field.name}", field
