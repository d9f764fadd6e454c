"""Makes the pictures of docs: ``python -m tests.browser.pictures [NAME …]``.

They show runs against the emulator and made-up accounts, always of the same day. Needs Chromium,
Node, the packages of tests/browser, promtool, pngquant, which makes them small, for the workbook
what spreadsheet.py names, and for the site the MkDocs that `.ci/full site` installs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import harvester
from harvester.cli import invoke
from tests.browser import alerts, site, spreadsheet, stories
from tests.browser.made_pages import Made
from tests.browser.visits import HERE, missing, visit

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
EXCEL = Path(__file__).parents[2] / "examples" / "excel"
MAX_BYTES = 150_000
QUIET = ["--progress", "none", "--log-level", "error"]


def main(names: Sequence[str]) -> None:
    """Make the pictures with these names, or all of them."""
    if reason := missing():
        sys.exit(reason)
    FOLDER.mkdir(exist_ok=True)
    for name in names or PICTURES:
        path = FOLDER / f"{name}.png"
        PICTURES[name](path)
        options = ["--force", "--skip-if-larger", "--speed", "1", "64"]
        subprocess.run(["pngquant", *options, "--output", str(path), str(path)], check=False)
        print(f"{path}: {path.stat().st_size:,} bytes")  # noqa: T201
        assert path.stat().st_size <= MAX_BYTES


def _shot(page: Path, picture: Path, *steps: list[Any], part: str = "", **options: Any) -> None:
    """Take a picture of a whole page after some steps, or of its ``part``."""
    taken = (
        ["picture", part, str(picture)]
        if part
        else ["screenshot", str(picture), {"fullPage": True}]
    )
    visit(page, *steps, ["wait", 200], taken, now=stories.NOON + 600, **options)


@contextmanager
def _report(number: int, *, chinese: bool = False, **options: Any) -> Iterator[Path]:
    with (
        tempfile.TemporaryDirectory() as folder,
        stories.told(Path(folder), number, chinese=chinese) as manifest,
    ):
        page = Path("report.html")
        harvester.report(manifest, html=page, **options)
        yield page.resolve()


def _of_20(picture: Path) -> None:
    with _report(20) as page:
        _shot(page, picture, ["evaluate", "moveTo(2, 80); openDetail()"])


def _of_300(picture: Path) -> None:
    with _report(300) as page:
        _shot(page, picture, dark=True, size=(1280, 1000))


def _of_10_000(picture: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = Made(10_000, 3_652, made_at=stories.NOON)
        page = made.write(Path(folder) / "report.html")
        _shot(page, picture, part="#map", size=(1460, 900), fragment="#sort=name")


def _for_client(picture: Path) -> None:
    with _report(20, for_client=True, accounts=["tag:north"]) as page:
        _shot(page, picture, size=(1000, 700))


def _in_chinese(picture: Path) -> None:
    with _report(20, chinese=True, lang="zh") as page:
        _shot(page, picture)


def _summary(picture: Path) -> None:
    """Take the summary that a run leaves on a job's page."""

    def run(manifest: Path) -> None:
        invoke(["run", str(manifest), "--summary-markdown", "summary.md", *QUIET])

    with tempfile.TemporaryDirectory() as folder, stories.told(Path(folder), 120, run=run):
        page = Path(folder) / "summary.html"
        page.write_text(_rendered(Path("summary.md").read_text("utf-8")), "utf-8")
        _shot(page, picture, size=(1076, 400), drawn=False)


def _alerts(picture: Path) -> None:
    """Show the alerts in the stories of their tests."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "alerts.html"
        page.write_text(alerts.page(), "utf-8")
        _shot(page, picture, size=(1180, 400), drawn=False)


def _workbook(picture: Path) -> None:
    """Show the workbook of a client, which the example wrote."""
    with tempfile.TemporaryDirectory() as folder:
        harvester.run(EXCEL / "jobs.yaml", output=f"{folder}/output")
        program = [sys.executable, str(EXCEL / "client_workbooks.py")]
        subprocess.run([*program, f"{folder}/output", "2026-05", folder, "晨光"], check=True)
        spreadsheet.picture(Path(folder, "晨光 2026-05.xlsx"), picture)


def _site(page: str, picture: Path, *steps: list[Any]) -> None:
    """Show the site of the documentation, which is built anew."""
    with tempfile.TemporaryDirectory() as folder:
        site.build(Path(folder))
        with site.served(Path(folder)) as address:
            taken = ["screenshot", str(picture)]
            visit(f"{address}/{page}", *steps, ["wait", 500], taken, quiet=False, drawn=False)


def _search(picture: Path) -> None:
    """Show what the Chinese site finds of a Chinese word."""
    field = ".md-search__input"
    typed = [["click", field], ["fill", field, "额度"], ["press", "End"]]
    _site("zh/index.html", picture, *typed, ["appears", ".md-search-result__link"])


def _rendered(markdown: str) -> str:
    """Return Markdown as the page that a site makes of it."""
    command = ["node", str(HERE / "markdown.mjs")]
    return subprocess.run(
        command, input=markdown, capture_output=True, text=True, check=True
    ).stdout


PICTURES: dict[str, Callable[[Path], None]] = {
    "report-20": _of_20,
    "report-300": _of_300,
    "report-10000": _of_10_000,
    "report-client": _for_client,
    "report-zh": _in_chinese,
    "summary": _summary,
    "alerts": _alerts,
    "workbook": _workbook,
    "site": partial(_site, "index.html"),
    "site-zh": partial(_site, "zh/index.html"),
    "site-tutorial": partial(_site, "tutorial.html"),
    "site-tutorial-zh": partial(_site, "zh/tutorial.html"),
    "site-search-zh": _search,
}


if __name__ == "__main__":
    main(sys.argv[1:])
