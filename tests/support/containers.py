"""The image, built and run with buildah and podman, on a base that may be made here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.doc_pages import ROOT

# Read here, because no test sees the variables of harvester that are set outside.
REQUIRED = bool(os.environ.get("HARVESTER_REQUIRE_IMAGE"))
TOOLS = ("buildah", "podman")
IMAGE = "localhost/harvester-test:image"
BASE = "localhost/harvester-test:base"
PYTHON = "3.13"

# Both are raised by default, which a machine without CAP_SYS_RESOURCE refuses.
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")

HARDENED = (
    *("--network=none", "--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp"),
    *("--cap-drop=all", "--security-opt=no-new-privileges", *LIMITS),
)
"""Options of a container without rights, as in examples/kubernetes, and without a network."""

_OF_DEBIAN = ("python3", "python3-pip", "python3-venv", "ca-certificates", "tzdata")


def call(*command: str | Path) -> str:
    """Run a command, and return its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def podman_run(*words: str) -> tuple[str, ...]:
    """Return the command that runs the image as it is meant to be run."""
    # crun refuses the control groups of a machine that has both versions.
    is_unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    runtime = () if is_unified else ("--runtime=runc",)
    return ("podman", *runtime, "run", *HARDENED, *words)


def base(folder: Path) -> str:
    """Return the Containerfile's base, or one of Debian's packages where none can be pulled."""
    text = (ROOT / "Containerfile").read_text("utf-8")
    found = re.search(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert found
    pulled = subprocess.run(["buildah", "pull", "-q", found[1]], capture_output=True, check=False)
    if pulled.returncode == 0:
        return found[1]
    if not shutil.which("mmdebstrap"):
        pytest.skip("no base can be pulled, and no mmdebstrap makes one")
    archive = folder / "base.tar"
    packages = f"--include={','.join(_OF_DEBIAN)}"
    lean = "--aptopt=APT::Install-Recommends 'false'"
    call("mmdebstrap", "-q", "--variant=minbase", lean, packages, "trixie", archive)
    call("podman", "import", "-q", archive, BASE)
    return BASE


def name_of(extras: str) -> str:
    """Return the name of the image with some extras."""
    return f"{IMAGE}-{extras}" if extras else IMAGE


def build_image(wheel: Path, folder: Path, extras: str = "") -> str:
    """Build the image of a wheel in a copy of what the builder gets, and return its name."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        assert not REQUIRED, f"no {missing}"
        pytest.skip(f"no {missing}")
    context = folder / "context"
    for name in ("Containerfile", "tools/release/image_root.py"):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, context / name)
    house = context / "dist" / ("wheelhouse" + f"-{extras}" * bool(extras))
    words = ("wheelhouse", str(wheel), str(house), PYTHON, "x86_64", extras)
    subprocess.run([sys.executable, "-m", "tools.release", *words], cwd=ROOT, check=True)
    build = (f"--build-arg=BASE={base(folder)}", f"--build-arg=EXTRAS={extras}")
    given: Sequence[str] = (*build, f"--tag={name_of(extras)}", *LIMITS)
    call("buildah", "build", "-q", "--format=oci", "--network=none", *given, context)
    return name_of(extras)
