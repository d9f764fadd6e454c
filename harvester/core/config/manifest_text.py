"""Text of a manifest, which verbs read again as of another time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class ManifestText(NamedTuple):
    """A manifest as text, and a path for its messages; relative paths in it count from there.

    Without a ``text`` it is in the file. ``environ`` has the variables of ``${NAME}``, None for
    those of the process. ``read_at`` is when it was read, in seconds since the Unix epoch.
    """

    path: Path
    text: str | None = None
    environ: Mapping[str, str] | None = None
    read_at: float = 0.0
