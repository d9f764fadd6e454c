"""Version of the package: written once, in ``harvester/__init__.py``, and repeated by a tag."""

from __future__ import annotations

import os
import re
from pathlib import Path

from harvester import __version__

ROOT = Path(__file__).parents[2]


def changes(version: str = __version__, root: Path = ROOT) -> str:
    """Return the section of a version in the change log, without its heading; empty without one."""
    text = (root / "CHANGELOG.md").read_text("utf-8")
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)"
    found = re.search(heading, text, re.MULTILINE | re.DOTALL)
    return f"{found[1].strip()}\n" if found else ""


def notes(version: str = __version__, root: Path = ROOT) -> str:
    """Return the section of a version for the page of its release, with whole links."""
    text, home = changes(version, root), os.environ.get("PROJECT_URL")
    return re.sub(r"\]\((?![a-z]+:|#)", f"]({home}/blob/v{version}/", text) if home else text


def mistakes(tag: str, version: str = __version__, root: Path = ROOT) -> list[str]:
    """Return what is wrong with a tag: another version than the package's, or one without notes."""
    found = []
    if tag != f"v{version}":
        found.append(f"the tag is {tag}, and harvester/__init__.py has version {version}")
    if not changes(version, root):
        found.append(f"CHANGELOG.md has no section `## [{version}] - YYYY-MM-DD`")
    if "PROJECT_URL" not in os.environ:
        found.append("PROJECT_URL, the address of the repository, is not set")
    return found
