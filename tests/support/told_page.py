"""A page that is told from top to bottom: its commands run against the emulator.

``python -m tests.support.told_page`` writes the answers on the pages anew.

- A block ``yaml`` with a first line ``# jobs.yaml`` is that file.
- A block ``sh`` is run, line by line, in the folder of the manifest. ``sh elsewhere`` is not run.
- A block ``text`` behind it is what these commands print, and ``csv`` what DuckDB answers to the
  block ``sql`` before.
- A comment ``<!-- test: … -->`` changes the world, as `World` has it: ``wait HOURS``,
  ``fail ACCOUNT DATASET CODE``, ``heal ACCOUNT DATASET``.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import duckdb

from harvester.cli import invoke
from harvester.core.calendar import instant, parse_day
from harvester.runs import clock
from harvester.sandbox import Rules
from harvester.storage.backends.elapsed import boot_seconds
from tests.support.doc_pages import FENCED, ROOT, blocks
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.sandboxes import Clock, serve_in_thread

RID = "1a2b3c4d-1a2b3c4d-1a2b3c4d"
NOON = instant(parse_day("2026-06-10"), 12 * 60)
PAGE, TRANSLATION = ROOT / "docs/tutorial.md", ROOT / "docs/tutorial.zh.md"

PARTS = re.compile(
    r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$|^<!-- test: (?P<order>[^\n]*) -->$",
    re.MULTILINE | re.DOTALL,
)


class World:
    """The emulator of a page and the time in it."""

    def __init__(self) -> None:
        self.now = Clock(NOON)
        self.wechat = FaultyWeChat(Rules(), self.now)

    def order(self, line: str) -> None:
        """Carry out a comment of the page."""
        name, *words = line.split()
        if name == "wait":
            self.now.now += 3600 * float(words[0])
        elif name == "fail":
            self.wechat.fail(words[0], int(words[2]), dataset=words[1])
        else:
            self.wechat.heal(words[0], dataset=words[1])

    @contextmanager
    def entered(self) -> Iterator[str]:
        """Serve the emulator, be in an empty folder, and yield the emulator's address."""

        def elapsed() -> float:
            # Hours of the page pass for the machine too, or its clock would have been set.
            return boot_seconds() + self.now() - NOON

        variables = {"TZ": "UTC", "COLUMNS": "100", "WECHAT_SECRETS": "secrets"}
        with (
            tempfile.TemporaryDirectory() as folder,
            serve_in_thread(self.wechat) as address,
            mock.patch.dict(os.environ, variables),
            mock.patch.object(clock, "time", SimpleNamespace(time=self.now)),
            mock.patch.object(clock, "boot_seconds", elapsed),
            chdir(folder),
        ):
            time.tzset()
            yield address


def told(page: Path) -> str:
    """Tell a page, and return it with the answers that its commands gave."""
    world = World()
    answer = ""

    def part(found: re.Match[str]) -> str:
        nonlocal answer
        if found["order"]:
            world.order(found["order"])
        elif found["info"] in {"text", "csv"}:
            answer, given = "", answer
            return f"```{found['info']}\n{given}```"
        elif found["info"] == "yaml" and found["text"].startswith("# jobs.yaml"):
            Path("jobs.yaml").write_text(found["text"] + f"api: {{base_url: {address!r}}}\n")
        elif found["info"] == "sh":
            answer = "\n".join(filter(None, map(_printed, found["text"].splitlines())))
        elif found["info"] == "sql":
            answer = _queried(found["text"])
        return found[0]

    with world.entered() as address:
        return PARTS.sub(part, page.read_text("utf-8"))


def _printed(line: str) -> str:
    """Return what a command prints, as the page has it."""
    name, *words = shlex.split(line, comments=True)
    if name != "harvester":
        os.system(line)
        return ""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        invoke(words)
    return usual(out.getvalue())


def usual(text: str) -> str:
    """Return what was printed, without log lines, and with the rid and the duration of the page."""
    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{8}){2}\b", RID, text)
    text = re.sub(r"^\d\d:\d\d:\d\dZ .*\n", "", text, flags=re.MULTILINE)
    text = text.lstrip("\n")
    return re.sub(r"^(  time +)[\d.]+ s.*$", r"\g<1>1.0 s", text, flags=re.MULTILINE)


def _queried(query: str) -> str:
    """Return what DuckDB answers, as its command line prints it."""
    with duckdb.connect() as con:
        return str(con.sql(query)).rstrip() + "\n"


def main() -> None:
    """Write the answers on the page, and its blocks into the translation."""
    PAGE.write_text(told(PAGE), "utf-8")
    found = iter(blocks(PAGE))
    text = FENCED.sub(
        lambda match: f"```{match[1]}\n{next(found).text}```", TRANSLATION.read_text("utf-8")
    )
    TRANSLATION.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
