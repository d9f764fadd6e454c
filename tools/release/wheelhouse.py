"""Wheelhouse: a folder from which pip installs harvester without a network, each file by its hash.

``pip install --no-index --find-links FOLDER --require-hashes -r FOLDER/requirements.txt``
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).parents[2]
PINS = ROOT / "requirements.txt"
EXTRAS = {"": PINS, "lakehouse": ROOT / "tools/release/requirements-lakehouse.txt"}
"""The pins of an installation without extras, and with those that have some."""

_GLIBC = range(28, 4, -1)
"""Minor versions of glibc that wheels may ask for, the newest first."""


def make_wheelhouse(
    wheel: Path,
    folder: Path,
    python: str = "3.13",
    architecture: str = "x86_64",
    extras: str = "",
) -> int:
    """Fill a folder with harvester and its dependencies; return the exit code of pip.

    ``python`` and ``architecture`` are those of the machine that installs. Nothing of a package is
    run, so it may be another one than this. ``extras`` is one of `EXTRAS`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    platforms = [f"--platform=manylinux_2_{glibc}_{architecture}" for glibc in _GLIBC]
    # The older name of 2.17, which pip takes as another platform.
    platforms.append(f"--platform=manylinux2014_{architecture}")
    command = [
        *(sys.executable, "-m", "pip", "--isolated", "download", "-q", "--no-deps"),
        *("--require-hashes", "--only-binary=:all:", "-r", str(EXTRAS[extras]), "-d", str(folder)),
        *(f"--python-version={python}", *platforms),
    ]
    done = subprocess.run(command, check=False)
    if not done.returncode:
        shutil.copy(wheel, folder)
        lines = [requirement(file) for file in sorted(folder.glob("*.whl"))]
        (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in lines))
    return done.returncode


def requirement(wheel: Path) -> str:
    """Return the line of a wheel in a file of requirements."""
    name, version, _, _ = parse_wheel_filename(wheel.name)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name}=={version} --hash=sha256:{digest}"
