"""Files of the user that a verb writes, such as that of ``--summary``: checked before it begins.

Each is replaced whole, so a wrong path costs what is there. It is never a link, a file that the
manifest is read from, or a file of an output. ``option`` is the one that names the file, in errors.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from harvester.core.config.settings import Manifest
from harvester.core.errors import UsageError
from harvester.manifest.external_inputs import touched
from harvester.storage.backends.base import META_DIR

_INPUT = "the run reads this file"


def refuse_unusable(path: Path, manifest: Path, option: str, others: Iterable[Path] = ()) -> None:
    """Raise UsageError for a file that may not be written, before the manifest is read.

    That is a link to a file, the ``manifest`` itself, a place inside of an output, and anything but
    a file, a pipe or a terminal. It is also a file that is one of ``others``, which other options
    name; a terminal may be named twice.
    """
    try:
        # What is not there yet, be it behind a link, becomes a file.
        kind = path.stat().st_mode if path.exists() else stat.S_IFREG
        # `Path.resolve` raises an error for a loop of links in some versions of Python.
        is_link, real = path.is_symlink(), Path(os.path.realpath(path))
        is_inside = any((folder / META_DIR).is_dir() for folder in real.parents)
    except OSError as error:
        raise _refusal(option, path, str(error.strerror)) from None
    if is_link and stat.S_ISREG(kind):
        raise _refusal(option, path, "a link", "name the file itself")
    if not any(is_kind(kind) for is_kind in (stat.S_ISREG, stat.S_ISFIFO, stat.S_ISCHR)):
        raise _refusal(option, path, "a folder or a device, not a file")
    if path.parent.exists() and not path.parent.is_dir():
        raise _refusal(option, path, f"{path.parent} is a file, not a folder")
    if is_inside:
        raise _refusal(option, path, "inside of an output")
    _refuse_same(path, [manifest], option, _INPUT)
    if stat.S_ISREG(kind):
        _refuse_same(path, others, option, "another option names this file")


def refuse_place(path: Path, manifest: Manifest, option: str) -> None:
    """Raise UsageError for a file that the manifest refers to, or one inside of its output."""
    output = manifest.output.path
    if isinstance(output, Path) and path.resolve().is_relative_to(output.resolve()):
        raise _refusal(option, path, f"inside of the output {output}")
    _refuse_same(path, touched(manifest).files, option, _INPUT)


def _refuse_same(path: Path, others: Iterable[Path], option: str, why: str) -> None:
    """Raise UsageError if the path is one of the others, or another path of the same file."""
    for other in others:
        is_same = path.absolute() == other.absolute()
        with suppress(OSError):
            is_same = is_same or path.samefile(other)
        if is_same:
            raise _refusal(option, path, why)


def _refusal(option: str, path: Path, why: str, advice: str = "") -> UsageError:
    return UsageError(f"{option} {path}: {why}", advice or f"name another file with {option}")
