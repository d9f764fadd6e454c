"""Number of cores that this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_GROUPS = "sys/fs/cgroup"
_CPU_FOLDERS = ("cpu", "cpu,cpuacct", "cpuacct,cpu")
"""Folders in which version 1 of control groups keeps the limits of the processor."""


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may keep busy, at least one.

    The system's affinity and the CPU limits of the control groups, versions 1 and 2, count.
    ``root`` is where the system's files are found.
    """
    # macOS has no affinity.
    has_affinity = hasattr(os, "sched_getaffinity")
    found = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, int(min([found, *_limits(root)])))


def _limits(root: Path) -> Iterator[float]:
    """Yield the limits of this process's control groups, and of those that they are in."""
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from _of_version_2(root / _GROUPS, path)
            elif "cpu" in controllers.split(","):
                for name in _CPU_FOLDERS:
                    yield from _of_version_1(root / _GROUPS / name, path)


def _of_version_2(groups: Path, path: str) -> Iterator[float]:
    for folder in _with_parents(groups, path):
        with suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text("ascii").split()
            if quota != "max":
                yield int(quota) / int(period)


def _of_version_1(groups: Path, path: str) -> Iterator[float]:
    for folder in _with_parents(groups, path):
        with suppress(OSError, ValueError):
            quota = int((folder / "cpu.cfs_quota_us").read_text("ascii"))
            period = int((folder / "cpu.cfs_period_us").read_text("ascii"))
            if quota > 0:
                yield quota / period


def _with_parents(groups: Path, path: str) -> Iterator[Path]:
    """Yield the folders of a group and of those around it.

    A container sees its own group as the outermost one, whatever its path says.
    """
    inner = PurePosixPath(path.lstrip("/"))
    return (groups / each for each in (inner, *inner.parents))
