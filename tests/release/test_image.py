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
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from harvester.core.exit_codes import Exit
from tests.release.test_package import NAME, build, released
from tests.support.containers import BASE, build_image, call, name_of, podman_run
from tests.support.doc_pages import ROOT
from tools.release.image_root import TRIMMED, USER, trim
from tools.release.wheelhouse import EXTRAS, make_wheelhouse

MAX_UNPACKED = {"": 220e6, "lakehouse": 690e6}
MAX_COMPRESSED = {"": 80e6, "lakehouse": 240e6}

FORMATS = ("delta", "ducklake", "iceberg")
OF_EXTRAS = {
    "lakehouse": (spark := {"harvester.spark", "harvester.readers.spark"}),
    "": spark | {f"harvester.verbs.lakehouse.{name}" for name in FORMATS},
}
"""Modules for which another extra must be installed, by the extras of the image."""

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
    "written": written, "programs": os.listdir("/opt/harvester/bin"),
    "names": sorted({os.path.basename(path) for path in tree})}))
"""


BOM = """
import importlib.metadata, json, os
names = {"debian": os.listdir("/var/lib/dpkg/status.d"),
    "python": [each.name for each in importlib.metadata.distributions()]}
print(json.dumps([json.load(open("/usr/share/sbom/harvester.cdx.json")), names]))
"""

SUMS = """
import os, sys
to, place = sys.argv[1:]
if to == "delta":
    from deltalake import DeltaTable
    table = DeltaTable(place + "/interface_summary").to_pyarrow_table()
elif to == "iceberg":
    from pyiceberg.catalog.sql import SqlCatalog
    catalog = SqlCatalog("harvester", uri=f"sqlite:///{place}/catalog.db")
    table = catalog.load_table("wechat.interface_summary").scan().to_arrow()
else:
    import duckdb
    from harvester.verbs.sql.duckdb_stores import load_extension
    con = duckdb.connect()
    load_extension(con, "ducklake", place, "")
    con.execute(f"attach 'ducklake:{place}/catalog.ducklake' as lake (read_only)")
    table = con.sql("from lake.wechat.interface_summary").to_arrow_table()
print(len(table), sum(table["callback_count"].to_pylist()), flush=True)
os._exit(0)  # The threads of deltalake may abort an interpreter that ends by itself.
"""


def modules_without(python: Path | str, *command: str) -> list[str]:
    """Import every module of harvester, and return those that lack another one."""
    return call(*(command or (python, "-c", IMPORT_ALL))).splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("extras", EXTRAS)
def test_harvester_loads_nothing_that_is_trimmed(tmp_path: Path, extras: str) -> None:
    """Without it every module is imported, and the main job runs, its files sound."""
    wheel = build(ROOT, tmp_path / "dist").wheel
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert make_wheelhouse(wheel, tmp_path / "house", version, extras=extras) == 0
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
    assert {*modules_without(python)} == OF_EXTRAS[extras]
    (tmp_path / "jobs.yaml").write_bytes((ROOT / "jobs.yaml").read_bytes())
    for verb in ("run", "verify", "status"):
        call(tmp_path / "venv/bin/harvester", verb, tmp_path / "jobs.yaml")


class Image(NamedTuple):
    """An image with some extras; the folder has the wheel that is in it."""

    name: str
    extras: str
    folder: Path


@pytest.fixture(scope="module", params=EXTRAS)
def image(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Image]:
    """Each image in turn, built or the released one."""
    extras, folder = request.param, tmp_path_factory.mktemp("image")
    name = name_of(extras)
    if found := released():
        shutil.copytree(found.wheel.parent, folder / "dist")
        archive = found.wheel.parents[1] / f"release/image{f'-{extras}' * bool(extras)}.oci.tar"
        call("buildah", "tag", call("buildah", "pull", "-q", f"oci-archive:{archive}"), name)
    else:
        build_image(build(ROOT, folder / "dist").wheel, folder, extras)
    yield Image(name, extras, folder)
    # The base is there only if it was made here.
    subprocess.run(["podman", "rmi", "-f", name, BASE], capture_output=True, check=False)


def volume_at(folder: Path) -> Path:
    """Make a folder that belongs to the user of the image, as a volume does."""
    folder.mkdir()
    if os.getuid() == 0:
        os.chown(folder, USER, USER)
    else:
        folder.chmod(0o777)
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The volume of an output."""
    return volume_at(tmp_path / "output")


@pytest.mark.slow
def test_the_image_is_small(image: Image) -> None:
    """Unpacked, and as a registry has it: one layer, by gzip."""
    unpacked = int(call("podman", "image", "inspect", image.name, "--format={{.Size}}"))
    call("buildah", "push", "-q", image.name, f"oci:{image.folder}/pushed:image")
    compressed = sum(file.stat().st_size for file in (image.folder / "pushed/blobs").rglob("*"))
    assert unpacked <= MAX_UNPACKED[image.extras]
    assert compressed <= MAX_COMPRESSED[image.extras]


@pytest.mark.slow
def test_the_image_has_what_was_built(image: Image) -> None:
    """Each file of the wheel with its digest; all modules can be imported there."""
    packages = f"/opt/harvester/lib/python3.13/site-packages/{NAME}.dist-info/RECORD"
    python = podman_run("--rm", "--entrypoint=python3", image.name)
    found = call(*python, "-c", f"print(open({packages!r}).read())").splitlines()
    with zipfile.ZipFile(image.folder / "dist" / f"{NAME}-py3-none-any.whl") as wheel:
        expected = wheel.read(f"{NAME}.dist-info/RECORD").decode().splitlines()
    assert {line for line in expected if "sha256=" in line} <= {*found}
    assert {*modules_without("", *python, "-c", IMPORT_ALL)} == OF_EXTRAS[image.extras]


@pytest.mark.slow
def test_the_image_has_no_right(image: Image) -> None:
    """One user without a capability, a root that is read only; no shell and no installer."""
    look = json.loads(call(*podman_run("--rm", "--entrypoint=python3", image.name), "-c", LOOK))
    assert (look["pid"], look["uid"], look["gid"], look["rights"]) == (1, USER, USER, 0)
    assert look["owned"] == []
    assert look["written"] == ["/tmp"]
    names = {*look["names"]}
    assert not names & {"sh", "bash", "dash", "apt", "dpkg", "pip", "pip3", "perl", "curl", "su"}
    # What a scanner for faults, and a reader of licences, look for.
    assert names >= {"libc6", "libssl3t64", "os-release", "copyright", "METADATA"}
    assert {*look["programs"]} == {"harvester", "python", "python3", "python3.13"}


@pytest.mark.slow
def test_the_image_names_all_its_packages(image: Image) -> None:
    """In the words of CycloneDX: those of Python by their metadata, and those of Debian."""
    python = podman_run("--rm", "--entrypoint=python3", image.name)
    bom, names = json.loads(call(*python, "-c", BOM))
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    found = {(each["purl"].split("/")[0], each["name"]) for each in bom["components"]}
    debian = {("pkg:deb", name) for name in names["debian"]}
    python_names = {("pkg:pypi", name) for name in names["python"]}
    assert found == debian | python_names | {("pkg:generic", "python")}
    assert len(found) == len(bom["components"]) > 30
    assert all("licenses" in each for each in bom["components"] if each["name"] == "rich")


@pytest.mark.slow
@pytest.mark.parametrize("to", FORMATS)
def test_the_image_exports(image: Image, output: Path, to: str) -> None:
    """Twice, without a network, on a root that is read only; or it says what is missing."""
    jobs = f"--volume={ROOT / 'jobs.yaml'}:/data/jobs.yaml:ro"
    volume = f"--volume={output}:/data/output"
    call(*podman_run("--rm", jobs, volume, image.name, "run", "jobs.yaml"))
    lake = volume_at(output.parent / "lake")
    volumes = (volume, f"--volume={lake}:/data/lake")
    words = ("export", "/data/lake", "--to", to, "--output", "/data/output", "--format", "json")
    export = podman_run("--rm", *volumes, image.name, *words)
    if not image.extras:
        done = subprocess.run(export, capture_output=True, text=True, check=False)
        assert done.returncode == Exit.BUG
        assert "is not installed" in done.stderr
        return
    first, second = (json.loads(call(*export))["tables"] for _ in range(2))
    assert len(first) > 5
    assert all(table["added"] for table in first)
    assert not any(table["added"] for table in second)
    sums = ("-c", SUMS, to, "/data/lake")
    found = call(*podman_run("--rm", *volumes, "--entrypoint=python3", image.name, *sums))
    files = sorted(output.glob("interface_summary/*/*.parquet"))
    rows = pa.concat_tables(pq.ParquetFile(file).read(["callback_count"]) for file in files)
    counts = rows["callback_count"].to_pylist()
    assert found == f"{len(counts)} {sum(counts)}"


@pytest.mark.slow
def test_the_main_job_runs_in_the_image(image: Image, output: Path) -> None:
    """README's command, as Kubernetes would run it; another harvester finds its files sound."""
    jobs = f"--volume={ROOT / 'jobs.yaml'}:/data/jobs.yaml:ro"
    call(
        *podman_run("--rm", jobs, f"--volume={output}:/data/output", image.name, "run", "jobs.yaml")
    )
    (output.parent / "jobs.yaml").write_bytes((ROOT / "jobs.yaml").read_bytes())
    call(sys.executable, "-m", "harvester", "verify", output.parent / "jobs.yaml")
    assert len([*output.glob("interface_summary/*/*.parquet")]) >= 6


@pytest.mark.slow
def test_sigterm_ends_the_first_process_in_order(image: Image, output: Path) -> None:
    """143, and what was obtained is published."""
    manifest = yaml.safe_load((ROOT / "jobs.yaml").read_text("utf-8"))
    manifest["limits"]["per_token"]["rate"] = "1/s"
    (output.parent / "slow.yaml").write_text(json.dumps(manifest))
    jobs = f"--volume={output.parent / 'slow.yaml'}:/data/jobs.yaml:ro"
    begun = ("-d", jobs, f"--volume={output}:/data/output", image.name)
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
