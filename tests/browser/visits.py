"""Visits to a page in headless Chromium, through ``visit.mjs`` and playwright-core."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Read here, because no test sees the variables of harvester.
REQUIRED = os.environ.get("HARVESTER_REQUIRE_BROWSER", "") not in {"", "0"}
HERE = Path(__file__).parent
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
PACKAGES = ("axe-core", "eslint", "playwright-core")


@dataclass(frozen=True)
class Visit:
    """Findings of a visit. ``painted`` is in milliseconds after the page was asked for.

    ``errors`` are all lines of the console; ``requests`` are the addresses that the page asked
    for, without its own; ``results`` are in the order of the steps.
    """

    painted: float | None
    errors: list[str]
    requests: list[str]
    results: list[Any]


def missing() -> str:
    """Return the reason why no page can be visited, or an empty text."""
    if shutil.which("node") is None:
        return "there is no node"
    if not Path(CHROMIUM).exists():
        return f"there is no {CHROMIUM}: apt-get install chromium, or set CHROMIUM"
    absent = [name for name in PACKAGES if not (HERE / "node_modules" / name).is_dir()]
    return f"npm ci --prefix tests/browser did not install {absent}" if absent else ""


def visit(
    path: Path | str,
    *steps: list[Any],
    size: tuple[int, int] = (1280, 900),
    quiet: bool = True,
    **options: Any,
) -> Visit:
    """Open a page, a file or an address, and do the steps of ``visit.mjs``, one after the other.

    ``options``: ``dark``, ``drawn`` (False: wait for no map), ``fragment``, ``now``, ``scale``,
    ``script``, ``touch``. A line in the console or a request of the page is an error, unless
    ``quiet`` is False.
    """
    where = {"path": str(path)} if isinstance(path, Path) else {"url": path}
    asked = {**where, "width": size[0], "height": size[1], "steps": steps, **options}
    done = subprocess.run(
        ["node", HERE / "visit.mjs"],
        check=False,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env={**os.environ, "CHROMIUM": CHROMIUM},
    )
    assert done.returncode == 0, done.stderr
    found = Visit(**json.loads(done.stdout))
    assert not quiet or (found.errors, found.requests) == ([], []), found
    return found
