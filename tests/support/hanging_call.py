"""The command with one function that hangs, as with a dead disk, resolver or library.

``python -m tests.support.hanging_call WHAT GRACE MARK VERB …``: WHAT is ``module:function``, or
``import:module`` for a module that is never loaded, or ``nothing``. It creates the file MARK when
it hangs. GRACE is how many seconds a run may take to end in order after a signal: with an hour of
them a command that ends has not waited, however slow the machine.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

from harvester import signals
from harvester.__main__ import main


def hang_with(mark: Path) -> Callable[..., Any]:
    """Return a function that never returns and cannot be interrupted."""

    def hang(*args: Any, **kwargs: Any) -> None:
        mark.touch()
        while True:
            time.sleep(60)

    return hang


class HangingImport(MetaPathFinder):
    """An import hook that hangs at one module."""

    def __init__(self, name: str, hang: Callable[..., Any]) -> None:
        self.name = name
        self.hang = hang

    def find_spec(self, name: str, *_: object) -> None:
        """Hang at the module's name."""
        if name == self.name:
            self.hang()


def install(what: str, mark: Path) -> None:
    """Make a function, or the import of a module, hang."""
    place, _, name = what.partition(":")
    if place == "import":
        sys.meta_path.insert(0, HangingImport(name, hang_with(mark)))
    elif name:
        setattr(importlib.import_module(place), name, hang_with(mark))


if __name__ == "__main__":
    signals.install()
    signals.GRACEFUL_SECONDS = float(sys.argv[2])
    install(sys.argv[1], Path(sys.argv[3]))
    sys.argv[1:] = sys.argv[4:]
    main()
