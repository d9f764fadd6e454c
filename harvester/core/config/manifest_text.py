"""Text of a manifest, which verbs read again as of another time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class ManifestText(NamedTuple):
    """A manifest as text, and a path for its messages; relative paths in it count from there.

    Without a ``text`` the file is read. ``environ`` has the variables of ``${NAME}``; None stands
    for the environment of the process. ``read_at`` is the time of reading, in seconds since the
    Unix epoch.
    """

    path: Path
    text: str | None = None
    environ: Mapping[str, str] | None = None
    read_at: float = 0.0
