"""The states of a disk that a power cut may leave, at any moment of a run.

Changes are recorded where Python hands them to the system. What was written but not flushed may be
there, half there or not there; a name that was made, changed or removed is sure only once its
folder was flushed. A rename is whole or has not happened.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

Files = dict[str, bytes]


class Change(NamedTuple):
    """One change of a file or a folder.

    ``what`` is ``"made"``, ``"flushed"`` or ``"renamed"``, or ``"folder"`` for the flush of a
    folder. Paths are relative to the root. ``data`` is what a file holds.
    """

    what: str
    path: str
    to: str = ""
    data: bytes = b""


@dataclass
class Disk:
    """The changes below a root, and the marked moments."""

    root: Path
    changes: list[Change] = field(default_factory=list)
    marks: list[tuple[int, Any]] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)

    def mark(self, what: Any) -> None:
        """Record that something was promised by now."""
        self.marks.append((len(self.changes), what))

    def note(self, what: str, path: str, to: str = "", data: bytes = b"") -> None:
        """Record a change."""
        self.changes.append(Change(what, path, to, data))

    def name(self, path: Any) -> str | None:
        """Return a path relative to the root; None outside of it."""
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        found = Path(path)
        return str(found.relative_to(self.root)) if found.is_relative_to(self.root) else None


def record(root: Path, patch: pytest.MonkeyPatch) -> Disk:
    """Record the changes below ``root`` from now on."""
    disk = Disk(root)

    def hook(name: str, note: Callable[..., None]) -> None:
        real = getattr(os, name)

        def recorded(path: Any, *args: Any, **options: Any) -> Any:
            place = disk.name(path)
            if place is None:
                return real(path, *args, **options)
            if name == "fsync":
                note(place)
                return real(path, *args, **options)
            result = real(path, *args, **options)
            note(place, *args)
            return result

        patch.setattr(os, name, recorded)

    def flushed(place: str) -> None:
        path = root / place
        if path.is_dir():
            disk.note("folder", place)
            return
        disk.note("made", place, data=path.read_bytes())
        disk.note("flushed", place)

    def renamed(place: str, to: Any, *_: Any) -> None:
        disk.note("renamed", place, str(Path(to).relative_to(root)))

    hook("fsync", flushed)
    hook("replace", renamed)
    hook("rename", renamed)
    hook("mkdir", lambda place, *_: disk.note("mkdir", place))
    hook("rmdir", lambda place, *_: disk.note("rmdir", place))
    hook("unlink", lambda place, *_: disk.note("removed", place))
    return disk


def states(changes: list[Change]) -> dict[frozenset[tuple[str, bytes]], int]:
    """Return every state that a power cut may leave, with the last moment at which it may."""
    found: dict[frozenset[tuple[str, bytes]], int] = {}
    for count in range(len(changes) + 1):
        done = changes[:count]
        doubtful = [place for place in range(count) if _is_doubtful(done, place)]
        for lost in itertools.chain.from_iterable(
            itertools.combinations(doubtful, size) for size in range(len(doubtful) + 1)
        ):
            for cut, stays in itertools.product((None, 2, 0), (False, True)):
                found[frozenset(_disk(done, {*lost}, cut, stays=stays).items())] = count
    return found


def _is_doubtful(done: list[Change], place: int) -> bool:
    """Return whether the folder with the name was not flushed since."""
    change = done[place]
    if change.what in {"folder", "flushed"}:
        return False
    folder = str(Path(change.to or change.path).parent)
    return Change("folder", folder) not in done[place:]


def _disk(done: list[Change], lost: set[int], cut: int | None, *, stays: bool) -> Files:
    """Return the files that exist if these changes were lost.

    Of what was not flushed half is there for a ``cut`` of 2, nothing for 0. ``stays`` keeps the
    old name of a renamed file: the folder that it left is never flushed.
    """
    held: Files = {}
    named: set[str] = set()
    folders = {"."}
    for place, change in enumerate(done):
        path, gone = change.path, place in lost
        if change.what == "made":
            whole = cut is None or Change("flushed", path) in done[place:]
            held[path] = change.data if whole else change.data[: cut and len(change.data) // cut]
            named |= set() if gone else {path}
        elif change.what == "renamed" and not gone:
            held[change.to] = held.get(path, b"")
            named = (named if stays else named - {path}) | {change.to}
        elif change.what == "mkdir" and not gone:
            folders.add(path)
        elif change.what == "removed" and not gone:
            named.discard(path)
    return {
        path: held[path]
        for path in sorted(named)
        if all(str(folder) in folders for folder in Path(path).parents)
    }


def lay_out(files: frozenset[tuple[str, bytes]], root: Path) -> None:
    """Write the files of a state into a folder."""
    for name, data in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
