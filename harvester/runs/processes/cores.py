"""Number of cores that this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_GROUPS = "sys/fs/cgroup"


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may keep busy, at least one.

    The system's affinity and the CPU limits of the control groups, version 2, count. ``root`` is
    where the system's files are found.
    """
    # macOS has no affinity.
    has_affinity = hasattr(os, "sched_getaffinity")
    found = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, int(min([found, *_limits(root)])))


def _limits(root: Path) -> Iterator[float]:
    """Yield the limits of this process's control group, and of those that it is in."""
    groups = list[str]()
    with suppress(OSError, ValueError):
        groups = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    # Version 1 names controllers, and its limits are not read: a number must be given.
    for group in (PurePosixPath(line[3:].lstrip("/")) for line in groups if line.startswith("0::")):
        # A container sees its own group as the outermost one, whatever its path says.
        for each in (group, *group.parents):
            with suppress(OSError, ValueError):
                quota, period = (root / _GROUPS / each / "cpu.max").read_text("ascii").split()
                if quota != "max":
                    yield int(quota) / int(period)
