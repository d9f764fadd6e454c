"""Pages of `harvester report`, read back as a browser reads them."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from harvester.catalogue.languages import Language
from harvester.core.calendar import day_text, parse_day
from harvester.core.config.settings import Manifest
from harvester.planning import wanted_days
from harvester.storage.layout import Tree
from harvester.verbs import status
from harvester.verbs.page import assembly, tables
from harvester.verbs.page.facts import View

ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "section", "p"),
    *("noscript", "table", "thead", "tbody", "tr", "th", "td", "bdi", "code", "br", "script"),
}
"""Every element that a page has."""

ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "id", "scope", "type", "data-head"),
}
"""Every attribute that an element of a page has."""

_VOID = {"meta", "br"}


@dataclass
class Page(HTMLParser):
    """A page with its texts by place; ``elements`` are those with their attributes, in order."""

    source: str
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    sections: dict[str, str] = field(default_factory=dict)
    cells: dict[str, list[list[str]]] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Parse the page."""
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self._section = self._script = ""
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        given = dict(attrs)
        self.elements.append((tag, given))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "section":
            self._section = given["id"] or ""
        elif tag == "script":
            self._script = given.get("id") or "code"
        elif tag == "tr":
            self.cells.setdefault(self._section, []).append([])
        elif tag in {"td", "th"}:
            self.cells[self._section][-1].append("")
        elif tag == "br":
            self.cells[self._section][-1][-1] += "\n"

    def handle_endtag(self, tag: str) -> None:
        """Close the element that was opened last."""
        assert self._open.pop() == tag
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        """Add a text to all places that it is in."""
        if self._open and self._open[-1] == "script":
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
            return
        if self._open:
            self.texts[self._open[-1]] = self.texts.get(self._open[-1], "") + data
        self.sections[self._section] = self.sections.get(self._section, "") + data
        if {"td", "th"} & {*self._open}:
            self.cells[self._section][-1][-1] += data

    def handle_comment(self, data: str) -> None:
        """Note a comment: a page has none."""
        self.comments.append(data)

    @property
    def facts(self) -> Any:
        """The facts of the map."""
        return json.loads(self.scripts["facts"])

    def rows(self, section: str) -> list[list[str]]:
        """Return the rows of the table of a section, without its head."""
        return self.cells[section][1:]

    def days(self, dataset: str) -> dict[str, dict[str, int]]:
        """Return the state of each day by appid and day, without those that are not wanted."""
        facts = self.facts
        [cells] = [each["cells"] for each in facts["datasets"] if each["name"] == dataset]
        data = zlib.decompress(base64.b64decode(self.scripts[cells]))
        width, found = (facts["columns"] + 1) // 2, {}
        assert len(data) == width * len(facts["accounts"])
        for place, account in enumerate(facts["accounts"]):
            row = data[place * width : (place + 1) * width]
            states = [row[at // 2] >> 4 * (at % 2) & 15 for at in range(facts["columns"])]
            found[account["appid"]] = {
                day_at(facts["begin"], at): state for at, state in enumerate(states) if state
            }
        return found

    def everything(self) -> str:
        """Return the page with its days decompressed, without the script and style of all pages."""
        data = [
            zlib.decompress(base64.b64decode(text)).decode("latin-1")
            for name, text in self.scripts.items()
            if name.startswith("days-")
        ]
        source = self.source.replace(self.scripts["code"], "").replace(self.texts["style"], "")
        return "\n".join([source, json.dumps(self.facts, ensure_ascii=False), *data])


def day_at(begin: str, column: int) -> str:
    """Return the day of a column."""
    return day_text(parse_day(begin) + column)


def page_of(
    manifest: Manifest,
    tree: Tree,
    now: float,
    *,
    lang: Language = "en",
    for_client: bool = False,
    command: str = "harvester run jobs.yaml",
    **changes: Any,
) -> Page:
    """Return the page of an output at a time, with changes to what is found there."""
    found = status.find(manifest, tree, wanted_days.wanted(manifest, now), now)
    found = found._replace(**changes)
    view = View(manifest, found, now, lang, for_client, "" if for_client else command)
    return Page("".join(assembly.pieces(view, tables.sentence(view, "0.1.0"), tree)))
