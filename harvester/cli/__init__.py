"""The command line. Each verb lives in a module of its own, loaded only when it is called."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import App, CycloptsError

from harvester import __version__
from harvester.cli import hooks
from harvester.errors import Exit, HarvesterError
from harvester.redaction import masked

# Before anything loads Arrow, whose own allocator keeps tens of MiB that one event loop and two
# threads make no use of. Whoever sets the variable knows better.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

app = App(
    name="harvester",
    help="Harvest WeChat Official Account statistics into partitioned Parquet.",
    help_format="plaintext",
    version=__version__,
    result_action="return_value",
)
app.command(
    "harvester.cli.run:run",
    name="run",
    help="Make coverage whole: recover, plan, fetch, publish. Safe to repeat and to kill.",
)
app.command(
    "harvester.cli.plan:plan",
    name="plan",
    help="Show what a run would ask and what binds it. Asks nothing, writes nothing.",
)
app.command(
    "harvester.cli.check:check",
    name="check",
    help="See which accounts work: one token and one cheap call per family of each.",
)
app.command(
    "harvester.cli.status:status",
    name="status",
    help="Show coverage, gaps, quarantine and the last runs.",
)
app.command(
    "harvester.cli.verify:verify",
    name="verify",
    help="Check every file against itself: exit 3 names what is damaged.",
)
app.command(
    "harvester.cli.datasets:datasets",
    name="datasets",
    help="List the catalogue, or describe one dataset.",
)
app.command("harvester.cli.schema:schema", name="schema", help="Print the manifest's JSON Schema.")
app.command(
    "harvester.cli.sandbox:sandbox",
    name="sandbox",
    help="Serve the built-in WeChat emulator to other clients.",
)


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. What goes wrong is said on stderr."""
    try:
        code = app(arguments, exit_on_error=False, print_error=True)
    except CycloptsError:
        return Exit.USAGE
    except HarvesterError as error:
        complain(error)
        return error.exit_code
    except BrokenPipeError:
        return _close_stdout()
    except KeyboardInterrupt:
        return Exit.SIGINT
    except Exception as error:  # noqa: BLE001 - the last line of defence
        _confess(error)
        return Exit.BUG
    return code if isinstance(code, int) else Exit.DONE


def main() -> NoReturn:
    """The ``harvester`` command."""
    hooks.install()
    code = invoke(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _close_stdout()
    sys.stderr.flush()
    # Everything that matters is on disk by now. A resolver or a store thread that hangs must not
    # keep a scheduler waiting, and interpreter shutdown would wait for it.
    os._exit(code)


def complain(error: HarvesterError) -> None:
    """Say what is wrong, then what to do."""
    print(f"error: {masked(error.problem)}", file=sys.stderr)
    if error.advice:
        print(f"\n{masked(error.advice)}", file=sys.stderr)


def _confess(error: Exception) -> None:
    """A bug: where it happened, without the text of foreign errors, which may hold a URL."""
    print(f"error: a bug in harvester: {type(error).__name__}", file=sys.stderr)
    for frame in traceback.extract_tb(error.__traceback__):
        print(f"  {frame.filename}:{frame.lineno} in {frame.name}", file=sys.stderr)
    print("\nPlease report it with the lines above.", file=sys.stderr)


def _close_stdout() -> int:
    """Whoever read our output went away; that is no error of ours, and shutdown must not say so."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.DONE
