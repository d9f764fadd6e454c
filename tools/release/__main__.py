"""Programs that make a release.

``python -m tools.release check TAG`` compares a tag with the version and the change log.
``python -m tools.release notes`` prints the section of the version in CHANGELOG.md, with links to
PROJECT_URL.
``python -m tools.release wheelhouse WHEEL FOLDER [PYTHON [ARCHITECTURE [EXTRAS]]]`` puts a wheel
and all that it needs into FOLDER, with a requirements.txt of their hashes, for CPython PYTHON
(3.13) on Linux (x86_64). With ``lakehouse`` as EXTRAS it can export.

Exit codes: 0, 1 if the tag is wrong or pip fails, 2 for wrong arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tools.release.versions import mistakes, notes
from tools.release.wheelhouse import EXTRAS, make_wheelhouse


def main(arguments: Sequence[str]) -> int:
    """Run the program that the arguments name, and return its exit code."""
    match arguments:
        case ["check", tag]:
            found = mistakes(tag)
            sys.stderr.writelines(f"{mistake}\n" for mistake in found)
            return 1 if found else 0
        case ["notes"]:
            sys.stdout.buffer.write(notes().encode())
            return 0
        case ["wheelhouse", wheel, folder, *target] if len(target) <= 2 or (
            len(target) == 3 and target[2] in EXTRAS
        ):
            return make_wheelhouse(Path(wheel), Path(folder), *target)
    sys.stderr.write(f"{__doc__}")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
