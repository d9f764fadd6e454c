"""``harvester init``: a first manifest."""

from __future__ import annotations

import shlex
from importlib import resources
from pathlib import Path

from harvester.cli.next_commands import NextCommand, print_next
from harvester.cli.output import streams
from harvester.cli.output.terminal import Terminal
from harvester.core.errors import UsageError
from harvester.core.text.inert_text import inert


def init(file: Path | None = None, /) -> None:
    """Print a commented manifest, or write it to a new file. It runs as it stands.

    For example:
      harvester init jobs.yaml

    Exit codes:
      0   written
      2   the file exists or cannot be written

    Params:
        file: Write the manifest to this new file instead of stdout.
    """
    text = resources.files("harvester.cli").joinpath("jobs.yaml").read_bytes()
    if file is None:
        with streams.stdout_output():
            print(text.decode(), end="")
        return
    try:
        with file.open("xb") as new:
            new.write(text)
    except OSError as error:
        problem = f"{inert(str(file))}: {error.strerror}"
        raise UsageError(problem, "name a new file in a folder that can be written") from None
    name = shlex.quote(str(file))
    steps = (
        NextCommand("what a run would ask of the built-in emulator", f"harvester plan {name}"),
        NextCommand("ask it, and write the files", f"harvester run {name}"),
    )
    with streams.stdout_output():
        out = Terminal()
        out.say(f"{inert(str(file))}: written")
        print_next(out, steps)
