"""``harvester --install-completion``: verbs and options that a shell completes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cyclopts.completion.detect import ShellDetectionError

from harvester.cli.output.answers import console, print_line
from harvester.cli.output.streams import stdout_output
from harvester.cli.verbs import app
from harvester.core.errors import UsageError
from harvester.core.text.inert_text import inert


def install_completion(
    *,
    shell: Literal["bash", "zsh", "fish", "powershell"] | None = None,
    output: Path | None = None,
) -> None:
    """Let the shell complete verbs and options.

    Writes a script for the shell, and a line into its start-up file that loads it.

    For example:
      harvester --install-completion --shell bash

    Exit codes:
      0   written
      2   the shell is not known, or a file cannot be written

    Params:
        shell: The shell; the one that started this command by default.
        output: Write the script to this file, and change no start-up file.
    """
    try:
        script = app.install_completion(shell=shell, output=output, add_to_startup=output is None)
    except (ShellDetectionError, OSError) as error:
        what = "the shell is not known" if isinstance(error, ShellDetectionError) else "no file"
        advice = "write --shell bash, zsh, fish or powershell, and --output FILE"
        raise UsageError(what, advice) from None
    with stdout_output():
        print_line(console(), f"{inert(str(script))}: written; it takes effect in a new shell")
