"""``python -m benchmarks``: measure, print, and fail if a line that must hold is broken."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.result import Result, Settings, limits_table, markdown

NAMES = (
    "cpu",
    "pieces",
    "decode",
    "memory",
    "year",
    "plan",
    "tables",
    "report",
    "export",
    "store",
    "pace",
    "help",
    "connections",
    "shared",
    "questions",
)
NAMED = ("layout", "life", "silence")
"""Run only if they are named: they take longer than all others together."""

WHICH = f"{', '.join(NAMES)}; all of them; or {', '.join(NAMED)}"


def main() -> int:
    """Run the benchmarks that were named, or all."""
    options = _options()
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.folder) as folder:
        settings = Settings(Path(folder), options.quick, options.rounds, options.engineer)
        for name in options.names or NAMES:
            result = importlib.import_module(f"benchmarks.{name}").run(settings)
            results.append(result)
            print("\n".join(map(markdown, result.tables)), flush=True)
    if any(result.limits for result in results):
        print(markdown(limits_table(results)))
    if options.json:
        options.json.write_text(json.dumps(_report(results, settings), indent=2))
    return 0 if all(limit.holds for result in results for limit in result.limits) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=WHICH)
    parser.add_argument("--quick", action="store_true", help="a minute instead of ten, and rougher")
    parser.add_argument("--rounds", type=int, default=5, help="of the CPU benchmark (5)")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--folder", type=Path, help="work on this disk (the temporary folder)")
    parser.add_argument(
        "--engineer",
        default=sys.executable,
        help="a Python that has benchmarks/requirements.txt; pandas in our own would change what "
        "the harvester takes",
    )
    options = parser.parse_args()
    if unknown := set(options.names) - {*NAMES, *NAMED}:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    return options


def _report(results: list[Result], settings: Settings) -> dict[str, Any]:
    packages = ("aiohttp", "anyio", "orjson", "pyarrow")
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "quick": settings.quick,
        "packages": {name: version(name) for name in packages},
        "benchmarks": {result.name: result.as_json() for result in results},
    }


if __name__ == "__main__":
    sys.exit(main())
