"""The image: small, with nothing that harvester does not load, and at work without any right."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harvester.core.exit_codes import Exit
from tests.release.test_package import NAME, build, released
from tests.support.containers import BASE, IMAGE, build_image, call, podman_run
from tests.support.doc_pages import ROOT
from tools.release.image_root import TRIMMED, USER, trim
from tools.release.wheelhouse import make_wheelhouse

MAX_UNPACKED = 220e6
MAX_COMPRESSED = 80e6

OF_EXTRAS = {
    "harvester.spark",
    "harvester.readers.spark",
    *(f"harvester.verbs.lakehouse.{name}" for name in ("delta", "ducklake", "iceberg")),
}
"""Modules for which an extra must be installed."""

IMPORT_ALL = """
import importlib, pkgutil, harvester
for module in pkgutil.walk_packages(harvester.__path__, "harvester."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError:
        print(module.name)
"""

LOOK = """
import json, os
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
tree = [os.path.join(top, name) for top, _, names in os.walk("/", onerror=None) for name in names
        if not top.startswith(("/proc", "/sys", "/dev"))]
facts = {path: os.lstat(path) for path in tree if not os.path.islink(path)}
owned = [path for path, fact in facts.items() if fact.st_uid or fact.st_mode & 0o6002]
written = []
for folder in ("/", "/data", "/opt/harvester", "/tmp"):
    try:
        open(folder + "/new", "w").close()
        written.append(folder)
    except OSError:
        pass
print(json.dumps({"pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid(),
    "rights": int(status["CapEff"], 16) | int(status["CapBnd"], 16), "owned": owned,
    "written": written, "names": sorted({os.path.basename(path) for path in tree})}))
"""


def modules_without(python: Path | str, *command: str) -> list[str]:
    """Import every module of harvester, and return those that lack another one."""
    return call(*(command or (python, "-c", IMPORT_ALL))).splitlines()


@pytest.mark.slow
def test_harvester_loads_nothing_that_is_trimmed(tmp_path: Path) -> None:
    """Without it every module is imported, and the main job runs, its files sound."""
    wheel = build(ROOT, tmp_path / "dist").wheel
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert make_wheelhouse(wheel, tmp_path / "house", version) == 0
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    pins = (
        "--no-index",
        "--find-links",
        tmp_path / "house",
        "-r",
        tmp_path / "house/requirements.txt",
    )
    call(python, "-m", "pip", "install", "-q", *pins)
    [packages] = (tmp_path / "venv/lib").glob("python*/site-packages")
    assert [pattern for pattern in TRIMMED if not [*packages.glob(pattern)]] == []
    trim(packages)
    assert {*modules_without(python)} == OF_EXTRAS
    (tmp_path / "jobs.yaml").write_bytes((ROOT / "jobs.yaml").read_bytes())
    for verb in ("run", "verify", "status"):
        call(tmp_path / "venv/bin/harvester", verb, tmp_path / "jobs.yaml")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The image is there, built or the released one; the folder has the wheel that is in it."""
    folder = tmp_path_factory.mktemp("image")
    if found := released():
        shutil.copytree(found.wheel.parent, folder / "dist")
        archive = found.wheel.parents[1] / "release/image.oci.tar"
        call("buildah", "tag", call("buildah", "pull", "-q", f"oci-archive:{archive}"), IMAGE)
    else:
        build_image(build(ROOT, folder / "dist").wheel, folder)
    yield folder
    # The base is there only if it was made here.
    subprocess.run(["podman", "rmi", "-f", IMAGE, BASE], capture_output=True, check=False)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder that belongs to the user of the image, as a volume does."""
    folder = tmp_path / "output"
    folder.mkdir()
    if os.getuid() == 0:
        os.chown(folder, USER, USER)
    else:
        folder.chmod(0o777)
    return folder


@pytest.mark.slow
def test_the_image_is_small(image: Path) -> None:
    """Unpacked, and as a registry has it: one layer, by gzip."""
    unpacked = int(call("podman", "image", "inspect", IMAGE, "--format={{.Size}}"))
    call("buildah", "push", "-q", IMAGE, f"oci:{image}/pushed:image")
    compressed = sum(file.stat().st_size for file in (image / "pushed/blobs").rglob("*"))
    assert unpacked <= MAX_UNPACKED
    assert compressed <= MAX_COMPRESSED


@pytest.mark.slow
def test_the_image_has_what_was_built(image: Path) -> None:
    """Each file of the wheel with its digest; all modules can be imported there."""
    packages = f"/opt/harvester/lib/python3.13/site-packages/{NAME}.dist-info/RECORD"
    python = podman_run("--rm", "--entrypoint=python3", IMAGE)
    found = call(*python, "-c", f"print(open({packages!r}).read())").splitlines()
    with zipfile.ZipFile(image / "dist" / f"{NAME}-py3-none-any.whl") as wheel:
        expected = wheel.read(f"{NAME}.dist-info/RECORD").decode().splitlines()
    assert {line for line in expected if "sha256=" in line} <= {*found}
    assert {*modules_without("", *python, "-c", IMPORT_ALL)} == OF_EXTRAS


@pytest.mark.slow
def test_the_image_has_no_right(image: Path) -> None:
    """One user without a capability, a root that is read only; no shell and no installer."""
    look = json.loads(call(*podman_run("--rm", "--entrypoint=python3", IMAGE), "-c", LOOK))
    assert (look["pid"], look["uid"], look["gid"], look["rights"]) == (1, USER, USER, 0)
    assert look["owned"] == []
    assert look["written"] == ["/tmp"]
    names = {*look["names"]}
    assert not names & {"sh", "bash", "dash", "apt", "dpkg", "pip", "pip3", "perl", "curl", "su"}
    # What a scanner for faults, and a reader of licences, look for.
    assert names >= {"libc6", "libssl3t64", "os-release", "copyright", "METADATA"}


@pytest.mark.slow
def test_the_main_job_runs_in_the_image(image: Path, output: Path) -> None:
    """README's command, as Kubernetes would run it; another harvester finds its files sound."""
    jobs = f"--volume={ROOT / 'jobs.yaml'}:/data/jobs.yaml:ro"
    call(*podman_run("--rm", jobs, f"--volume={output}:/data/output", IMAGE, "run", "jobs.yaml"))
    (output.parent / "jobs.yaml").write_bytes((ROOT / "jobs.yaml").read_bytes())
    call(sys.executable, "-m", "harvester", "verify", output.parent / "jobs.yaml")
    assert len([*output.glob("interface_summary/*/*.parquet")]) >= 6


@pytest.mark.slow
def test_sigterm_ends_the_first_process_in_order(image: Path, output: Path) -> None:
    """143, and what was obtained is published."""
    manifest = yaml.safe_load((ROOT / "jobs.yaml").read_text("utf-8"))
    manifest["limits"]["per_token"]["rate"] = "1/s"
    (output.parent / "slow.yaml").write_text(json.dumps(manifest))
    jobs = f"--volume={output.parent / 'slow.yaml'}:/data/jobs.yaml:ro"
    begun = ("-d", jobs, f"--volume={output}:/data/output", IMAGE)
    name = call(*podman_run(*begun, "run", "jobs.yaml", "--progress", "log"))
    try:
        while not [*output.glob("_harvester/raw/*/*")]:
            assert call("podman", "inspect", name, "--format={{.State.Running}}") == "true"
            time.sleep(0.2)
        call("podman", "kill", f"--signal={signal.SIGTERM:d}", name)
        assert int(call("podman", "wait", name)) == Exit.SIGTERM
        assert [*output.glob("interface_summary/*/*.parquet")]
    finally:
        call("podman", "rm", "-f", name)
