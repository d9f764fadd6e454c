"""The command line: its verbs, and how each of them ends."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import App, CycloptsError

from harvester import __version__, signals
from harvester.cli.options import parse_ok_exit
from harvester.cli.output import hooks, streams
from harvester.cli.output.streams import report_bug, report_error
from harvester.core.errors import Exit, HarvesterError

# Before anything loads Arrow, whose own allocator keeps tens of MiB that one event loop and two
# threads make no use of. A variable that is set stays as it is.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

_VERBS = {
    "run": "Make coverage whole: recover, plan, fetch, publish. Safe to repeat and to kill.",
    "plan": "Show what a run would ask and what binds it. Asks nothing, writes nothing.",
    "check": "See which accounts work: one token and one cheap call per family of each.",
    "status": "Show coverage, gaps, quarantine and the last runs.",
    "verify": "Check every file against itself: exit 3 names what is damaged.",
    "compact": "Make a fresh tree with another number of buckets, to switch to.",
    "forget": "Delete accounts for good: rows, answers, quarantine, names. Prints a receipt.",
    "datasets": "List the catalogue, or describe one dataset.",
    "explain": "Tell what an errcode of WeChat means, and what to do about it.",
    "init": "Print a commented manifest, or write it to a new file.",
    "schema": "Print the manifest's JSON Schema.",
    "sandbox": "Serve the built-in WeChat emulator to other clients.",
}
"""Each verb is a function of a module of its own name, loaded only when it is called."""

app = App(
    name="harvester",
    help="Harvest WeChat Official Account statistics into partitioned Parquet.",
    help_format="plaintext",
    version=__version__,
    console=streams.HelpConsole(),
    error_console=streams.HelpConsole(stderr=True),
)
for _name, _what in _VERBS.items():
    app.command(f"harvester.cli.commands.{_name}:{_name}", name=_name, help=_what)


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. What goes wrong is said on stderr."""
    fine: frozenset[int] = frozenset()
    _forget_empty_variables()
    try:
        verb, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=True)
        _collect_again()
        fine = parse_ok_exit(bound.arguments.get("_ok_exit", ""))
        signals.set_ok_exit(fine)
        code = _code_of(verb(*bound.args, **bound.kwargs))
    except CycloptsError:
        return Exit.USAGE
    except HarvesterError as error:
        report_error(error)
        code = error.exit_code
    except KeyboardInterrupt:
        code = Exit.SIGINT
    except Exception as error:  # noqa: BLE001 - the last line of defence
        report_bug(error)
        code = Exit.BUG
    return Exit.DONE if code in fine else code


def _forget_empty_variables() -> None:
    """Remove empty variables: a CI system sets an input that was not filled in to nothing."""
    for name, value in [*os.environ.items()]:
        if name.startswith("HARVESTER_") and not value:
            del os.environ[name]


def _collect_again() -> None:
    """Turn on the collector, which was off while modules were loaded: it need never see those."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _code_of(returned: object) -> int:
    return returned if isinstance(returned, int) else Exit.DONE


def main() -> NoReturn:
    """Run the ``harvester`` command."""
    signals.install()
    streams.fix_std_streams()
    hooks.install()
    code = invoke(sys.argv[1:])
    # Everything that matters is on disk by now. A resolver or a store thread that hangs must not
    # keep a scheduler waiting, and interpreter shutdown would wait for it.
    os._exit(streams.flush(code))
