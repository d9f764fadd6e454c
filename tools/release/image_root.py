"""Root of the image's file system: Python, harvester, and the libraries that both load.

``python3 image_root.py VENV ROOT`` copies them from the build stage of the Containerfile, by the
Python of that stage, so it imports nothing that is not of the standard library.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from urllib.parse import quote

USER = 65532
"""User and group of the image, which own nothing in it but ``/data``."""

TRIMMED = (
    # Of Arrow Flight.
    *("pyarrow/libarrow_flight.*", "pyarrow/libarrow_python_flight.*"),
    *("pyarrow/_flight.*", "pyarrow/flight.py"),
    # The library is linked by the name of its ABI, and a wheel has no links but copies.
    *("pyarrow/libarrow_python*.so", "pyarrow/libarrow_python*.so.*.*.*"),
    # For those who build or test an extension of Arrow.
    *("pyarrow/include", "pyarrow/includes", "pyarrow/src", "pyarrow/tests"),
    *("pyarrow/_pyarrow_cpp_tests.*", "pyarrow/*.pxi", "pyarrow/*.pyx", "pyarrow/*.pxd"),
    # The former interface of pydantic.
    "pydantic/v1",
)
"""Files in site-packages that harvester never loads. All of Arrow is linked with Substrait."""

TRIMMED_WITHOUT = {"pyiceberg": ("pyarrow/libarrow_s3.*", "pyarrow/_s3fs.*")}
"""Files that a package alone loads: harvester itself reaches S3 by obstore."""

NOT_COPIED = (
    # Tests, windows, terminals, installers, and databases with their libraries.
    *("__pycache__", "site-packages", "dist-packages", "config-*", "test", "idlelib", "tkinter"),
    *("turtledemo", "turtle.py", "ensurepip", "lib2to3", "pydoc_data", "curses", "_dbm.*"),
    *("_tkinter.*", "_test*", "_ctypes_test.*", "xx*", "_curses*", "readline.*", "_gdbm.*"),
)
"""Names in the standard library that are left out."""

NOT_COPIED_WITHOUT = {"sqlalchemy": ("sqlite3", "_sqlite3.*")}
"""Names that are left out without a package which loads them."""

SBOM = "usr/share/sbom/harvester.cdx.json"

OF_NO_LIBRARY = ("/usr/share/ca-certificates", "/usr/share/zoneinfo/UTC", "/usr/lib/os-release")
"""Files of packages of which more than libraries is copied."""

CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
COPIED = (
    "usr/share/zoneinfo",
    CERTIFICATES,
    "etc/os-release",
    "etc/ld.so.conf",
    "etc/ld.so.conf.d",
)


def main(venv: Path, root: Path) -> None:
    """Fill ``root``."""
    stdlib, python = Path(sysconfig.get_path("stdlib")), Path(sys.executable).resolve()
    [packages] = venv.glob("lib/python*/site-packages")
    _copy(stdlib, root, [*NOT_COPIED, *_without(packages, NOT_COPIED_WITHOUT)])
    _copy(python, root)
    _copy(venv, root, ("__pycache__",))
    programs = _inside(root, venv / "bin")
    for program in programs.iterdir():
        if program.name != "harvester":
            program.unlink()
    for name in ("python", "python3", python.name):
        (programs / name).symlink_to(python)
    packages = _inside(root, packages)
    trim(packages)
    _compile(root, packages, "pygments/lexers")
    _compile(root, _inside(root, stdlib))
    for name in COPIED:
        _copy(Path("/", name), root)
    for name in ("bin", "lib", "lib64", "sbin"):
        # As in Debian, where the loader of each program is in /lib64.
        (root / name).symlink_to(f"usr/{name}")
    libraries = _libraries(root)
    for library in libraries:
        _copy(library.parent.resolve() / library.name, root)
    subprocess.run(["ldconfig", "-r", root], check=True)
    modules = (stdlib / name for name in ("os.py", "asyncio/__init__.py"))
    _name_packages(root, [python, *modules, *map(Path, OF_NO_LIBRARY), *libraries])
    _write_sbom(root, packages)
    _add_user(root)


def trim(packages: Path) -> None:
    """Remove from a folder of packages what harvester never loads."""
    for pattern in (*TRIMMED, *_without(packages, TRIMMED_WITHOUT)):
        for path in packages.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _without(packages: Path, names: Mapping[str, Iterable[str]]) -> list[str]:
    """Return what is needless because a package is not there."""
    return [
        each for name, found in names.items() for each in found if not (packages / name).exists()
    ]


def _inside(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _copy(source: Path, root: Path, left_out: Iterable[str] = ()) -> None:
    """Copy a file, or a folder without names of some patterns, to its place below ``root``."""
    target = _inside(root, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_dir():
        shutil.copy(source, target)
        return

    def ignored(_: str, names: list[str]) -> set[str]:
        return {name for name in names for each in left_out if fnmatch.fnmatchcase(name, each)}

    shutil.copytree(source, target, symlinks=True, ignore=ignored, dirs_exist_ok=True)


def _compile(root: Path, folder: Path, left_out: str = "$^") -> None:
    """Compile the modules below a folder of a root that no container can write to."""
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-x", left_out, "-j", "0"]
    names = ["-s", str(root), "-p", "/", str(folder)]
    subprocess.run([sys.executable, "-m", "compileall", *options, *names], check=True)


def _libraries(root: Path) -> list[Path]:
    """Return the libraries of the system that a program or a library below ``root`` needs."""
    programs = [
        str(path)
        for path in root.rglob("*")
        if re.search(r"\.(so|duckdb_extension)(\.|$)", path.name)
    ]
    programs += [str(path) for path in root.glob("usr/**/bin/python3.*")]
    told = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    found = {Path(path) for path in re.findall(r"^\t(?:\S+ => )?(/\S+) \(0x", told, re.MULTILINE)}
    return sorted(path for path in found if not path.is_relative_to(root))


def _name_packages(root: Path, files: Iterable[Path]) -> None:
    """Name the packages of Debian that files are of, as scanners for faults look them up."""
    places = {str(each) for path in files for each in (path, path.resolve())}
    asked = ["dpkg-query", "--search", *sorted(places)]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    owners = re.findall(r"^([a-z0-9][a-z0-9+.-]+(?::\w+)?)(?:, \S+)*: /", told, re.MULTILINE)
    for package in sorted({*owners}):
        status = subprocess.run(
            ["dpkg-query", "--status", package], capture_output=True, check=True
        )
        name = package.partition(":")[0]
        place = root / "var/lib/dpkg/status.d" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(status.stdout)
        _copy(Path("/usr/share/doc", name, "copyright"), root)


def _write_sbom(root: Path, packages: Path) -> None:
    """List the packages of Python and of Debian in the words of CycloneDX."""
    found = [_component(each) for each in distributions(path=[str(packages)])]
    found.append(_named("python", sys.version.partition(" ")[0], "generic/python"))
    for status in (root / "var/lib/dpkg/status.d").iterdir():
        fields = dict(re.findall(r"^(\w+): (.+)$", status.read_text("utf-8"), re.MULTILINE))
        name, version = fields["Package"], fields["Version"]
        found.append(_named(name, version, f"deb/debian/{name}", fields["Architecture"]))
    found.sort(key=lambda each: str(each["bom-ref"]))
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": found}
    (root / SBOM).parent.mkdir(parents=True)
    (root / SBOM).write_text(json.dumps(bom, indent=1))


def _component(package: Distribution) -> dict[str, object]:
    """Return the entry of a package of Python, with its licence if that is named in a word."""
    known = package.metadata.json
    name = re.sub(r"[-_.]+", "-", package.name).lower()
    entry = _named(package.name, package.version, f"pypi/{name}")
    licence = str(known.get("license", ""))
    if "license_expression" in known:
        entry["licenses"] = [{"expression": known["license_expression"]}]
    elif licence and "\n" not in licence:
        entry["licenses"] = [{"license": {"name": licence}}]
    return entry


def _named(name: str, version: str, kind: str, architecture: str = "") -> dict[str, object]:
    """Return the entry of a package, whose reference is its package URL."""
    url = f"pkg:{kind}@{quote(version, safe='.-~')}" + f"?arch={architecture}" * bool(architecture)
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}


def _add_user(root: Path) -> None:
    """Add the user, a folder that belongs to it, and one for temporary files."""
    (root / "etc/passwd").write_text(
        f"root:x:0:0:root:/:/sbin/nologin\nharvester:x:{USER}:{USER}::/data:/sbin/nologin\n"
    )
    (root / "etc/group").write_text(f"root:x:0:\nharvester:x:{USER}:\n")
    # Where Debian's OpenSSL looks without being told.
    (root / "usr/lib/ssl").mkdir(parents=True)
    (root / "usr/lib/ssl/cert.pem").symlink_to(f"/{CERTIFICATES}")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "data").mkdir()
    os.chown(root / "data", USER, USER)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
