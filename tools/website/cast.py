"""The picture of a terminal on README.md: ``python -m tools.website.cast`` draws it.

It shows commands and answers of docs/tutorial.md, which a test runs. The fonts are those of the
reader's system, each line is stretched to its number of columns, and nothing is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/tutorial.md"
PICTURE = ROOT / "docs/pictures/terminal.svg"

SCENES = ("plan jobs.yaml", "run jobs.yaml", "status jobs.yaml --acknowledge")
"""The commands that are shown, with the last answer of the page to each but for ``run``."""

COLUMNS, ROWS = 100, 19
WIDTH, HEIGHT = 8.4, 19
MARGIN, BAR = 20, 34
SECONDS = 7
"""Time of a scene."""

BLOCK = re.compile(
    r"^```sh\nharvester ([^\n]*)\n```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL
)

STYLE = """
  text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre }
  text { fill: #d7dde5 }
  .command { fill: #7ee0b5 }
  .scene { opacity: 0; animation: scene TOTALs step-end infinite }
  .answer { animation: answer SCENEs step-end infinite }
  @keyframes scene { 0% { opacity: 1 } SHARE% { opacity: 0 } }
  @keyframes answer { 0% { opacity: 0 } 15% { opacity: 1 } }
  @media (prefers-reduced-motion: reduce) {
    .scene, .answer { animation: none }
    .scene:nth-of-type(2) { opacity: 1 }
  }
"""


def drawing() -> str:
    """Return the picture as SVG."""
    width, height = COLUMNS * WIDTH + 2 * MARGIN, ROWS * HEIGHT + BAR + MARGIN
    total = len(SCENES) * SECONDS
    style = STYLE.replace("TOTAL", f"{total}").replace("SHARE", f"{100 / len(SCENES):.4f}")
    dots = "".join(
        f'<circle cx="{20 + 18 * place}" cy="17" r="5.5" fill="{colour}"/>'
        for place, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    parts = "\n".join(_scene(number, *scene) for number, scene in enumerate(_scenes()))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" role="img">\n'
        f"<title>A terminal: a plan, a run, and what needs a person</title>\n"
        f"<style>{style.replace('SCENE', str(SECONDS))}</style>\n"
        f'<rect width="100%" height="100%" rx="9" fill="#1b2330"/>{dots}\n{parts}\n</svg>\n'
    )


def _scenes() -> Iterator[tuple[str, list[str]]]:
    found: dict[str, str] = {}
    for command, answer in BLOCK.findall(PAGE.read_text("utf-8")):
        # Of the runs the first one has rows to show.
        if command != "run jobs.yaml" or command not in found:
            found[command] = answer
    for command in SCENES:
        # What to type next is on the page.
        yield command, found[command].partition("\n  coverage, gaps")[0].splitlines()


def _scene(number: int, command: str, lines: list[str]) -> str:
    lines = ["", *lines][: ROWS - 1]
    drawn = [_line(0, f"$ harvester {command}", "command")]
    answer = [_line(row, line) for row, line in enumerate(lines, 1) if line]
    delay = f'style="animation-delay: {number * SECONDS - len(SCENES) * SECONDS}s"'
    return (
        f'<g class="scene" {delay}>\n{drawn[0]}\n<g class="answer">\n'
        + "\n".join(answer)
        + "\n</g>\n</g>"
    )


def _line(row: int, text: str, kind: str = "") -> str:
    text = text[:COLUMNS]
    indent = len(text) - len(text.lstrip())
    x, y = MARGIN + indent * WIDTH, BAR + 14 + row * HEIGHT
    length = (len(text) - indent) * WIDTH
    mark = f' class="{kind}"' if kind else ""
    return (
        f'<text{mark} x="{x:.1f}" y="{y}" textLength="{length:.1f}" xml:space="preserve">'
        f"{escape(text.strip())}</text>"
    )


if __name__ == "__main__":
    PICTURE.write_text(drawing(), "utf-8")
