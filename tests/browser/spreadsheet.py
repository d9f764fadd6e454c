"""Pictures of workbooks in LibreOffice, on a screen that is not there.

Needs Debian's libreoffice-calc, libreoffice-gtk3, openbox, scrot, xdotool and xvfb.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

SIZE = 1360, 640
DISPLAY = ":77"


def picture(book: Path, taken: Path) -> None:
    """Open a workbook, wait until its window is there, and take a picture of it."""
    width, height = map(str, SIZE)
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        environ = {**os.environ, "HOME": home, "DISPLAY": DISPLAY}
        office = ["soffice", "--nologo", "--norestore", "--nofirststartwizard", str(book)]
        for command in (
            ["Xvfb", DISPLAY, "-screen", "0", f"{width}x{height}x24"],
            ["openbox"],
            office,
        ):
            stack.enter_context(_running(command, environ))
            time.sleep(1)

        def ask(*command: str) -> str:
            done = subprocess.run(
                ["xdotool", *command], env=environ, capture_output=True, text=True, check=True
            )
            return done.stdout.strip()

        window = ask("search", "--sync", "--onlyvisible", "--name", "Calc")
        ask("windowsize", window, width, height, "windowmove", window, "0", "0")
        # Nothing says when it is drawn.
        time.sleep(10)
        subprocess.run(["scrot", "-o", str(taken)], env=environ, check=True)


@contextmanager
def _running(command: list[str], environ: dict[str, str]) -> Iterator[None]:
    """Run a program, and end it with all that it started."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, env=environ, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
