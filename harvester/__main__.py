"""``python -m harvester`` is ``harvester``."""

from __future__ import annotations

import gc
from typing import NoReturn

from harvester import signals


def main() -> NoReturn:
    """The ``harvester`` command."""
    signals.install()
    # What is loaded lives for ever, and a seventh of the start was looking for garbage in it.
    gc.disable()
    # Loading the rest takes a while, and a signal may come meanwhile.
    from harvester.cli import main as command  # noqa: PLC0415 - as the line above says

    command()


if __name__ == "__main__":
    main()
