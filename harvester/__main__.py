"""Entry point of ``python -m harvester``, which does the same as ``harvester``."""

from __future__ import annotations

import gc
from typing import NoReturn

from harvester import signals


def main() -> NoReturn:
    """Run the ``harvester`` command."""
    signals.install()
    # Loaded modules live until the end, and a seventh of the start was collecting garbage in them.
    gc.disable()
    # Imported only now, because loading takes a while and a signal may come meanwhile.
    from harvester.cli import main as command  # noqa: PLC0415 - as the line above says

    command()


if __name__ == "__main__":
    main()
