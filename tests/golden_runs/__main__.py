"""Plays scenes in a process whose clock is replaced before harvester is loaded.

``--write [SCENE…]`` writes golden files anew, ``--serve`` plays the scenes that stdin names.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from tests.golden_runs import virtual_clock


def main(words: list[str]) -> int:
    """Play scenes."""
    with tempfile.TemporaryDirectory(prefix="golden-clock-") as folder:
        virtual_clock.install(Path(folder))
        # Imported only now, because the clock must be there before.
        from tests.golden_runs import golden_files  # noqa: PLC0415 - as the line above says

        match words:
            case ["--write", *names]:
                return sum(_write(name) for name in names or golden_files.all_names())
            case ["--serve"]:
                for line in sys.stdin:
                    _serve(line.strip())
            case _:
                sys.exit(__doc__)
    return 0


def _write(name: str) -> bool:
    """Write the golden file of a scene; return whether that failed."""
    from tests.golden_runs import golden_files  # noqa: PLC0415 - as in `main`

    try:
        golden_files.write(name, golden_files.play(name))
    except Exception:  # noqa: BLE001 - the other scenes are played as well
        sys.stderr.write(f"{name}: {traceback.format_exc()}\n")
        return True
    return False


def _serve(name: str) -> None:
    """Play a scene, and write what its golden file should have as a line, or what went wrong."""
    from tests.golden_runs import golden_files  # noqa: PLC0415 - as in `main`

    try:
        answer: dict[str, Any] = {"played": golden_files.play(name)}
    except Exception:  # noqa: BLE001 - told where it is asked
        answer = {"error": traceback.format_exc()}
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
