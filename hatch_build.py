"""Metadata of the package that depend on where it is released: its addresses, and links of README.

``PROJECT_URL`` is the address of the repository, which the release workflow knows. A build from an
sdist takes it from there, and a build without any has no addresses.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_ADDRESS = re.compile(r"^Project-URL: Repository, (\S+)$", re.MULTILINE)
_RELATIVE_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)\s]+)\)")


class AddressesHook(MetadataHookInterface):
    """Hook of hatchling for the fields ``urls`` and ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the fields; on the index a relative link of README would lead nowhere."""
        text = Path(self.root, "README.md").read_text("utf-8")
        home = os.environ.get("PROJECT_URL") or self._home_of_the_sdist()
        if home:
            at = f"{home}/blob/v{metadata['version']}"
            text = _RELATIVE_LINK.sub(rf"]({at}/\1)", text)
            # A picture is a file, and not the page that shows one.
            text = re.sub(rf"(!\[[^\]]*\]\({re.escape(home)})/blob/", r"\1/raw/", text)
            metadata["urls"] = {
                "Repository": home,
                "Documentation": f"{at}/README.md#more",
                "Changelog": f"{at}/CHANGELOG.md",
                "Issues": f"{home}/issues",
                "Security": f"{at}/SECURITY.md",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}

    def _home_of_the_sdist(self) -> str:
        file = Path(self.root, "PKG-INFO")
        found = _ADDRESS.search(file.read_text("utf-8")) if file.is_file() else None
        return found[1] if found else ""
