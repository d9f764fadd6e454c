"""Options in, text or JSON out, exit codes: the ``harvester`` command."""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Sequence
from contextvars import copy_context
from typing import NoReturn

from cyclopts import CycloptsError

from harvester import signals
from harvester.cli import environment, variables
from harvester.cli.options import parse_ok_exit, spelled
from harvester.cli.output import hooks, json_lines, streams
from harvester.cli.output.usage import usage_error
from harvester.cli.verbs import VERBS, app, spelled_out
from harvester.core.errors import HarvesterError
from harvester.core.exit_codes import Exit
from harvester.core.shortage import refuse_low_limit, shortage
from harvester.core.text import redaction
from harvester.manifest.option_values import SPELLING

__all__ = ["app", "environment", "invoke", "main"]


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Errors are printed to stderr.

    The secrets that it reads are known to it alone, and forgotten with it.
    """
    return copy_context().run(_invoke, arguments)


def _invoke(arguments: Sequence[str]) -> int:
    redaction.start_record()
    ok_codes: frozenset[int] = frozenset()
    _forget_empty_variables()
    SPELLING.set(spelled)
    # Before anything is parsed, because what is wrong with the arguments is told too.
    json_lines.begin(on=json_lines.is_asked_for(arguments, os.environ))
    try:
        # Before Arrow is loaded, which ends the process without a message where it gets no memory.
        if arguments[:1] == ["run"]:
            refuse_low_limit()
        words = spelled_out([*arguments])
        if words and words[0] in VERBS:
            # A verb's own help is its docstring; its summary is for the list of verbs.
            app[words[0]].help = None
        verb, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
        _resume_gc()
        ok_codes = parse_ok_exit(bound.arguments.get("_ok_exit", ""))
        signals.set_ok_exit(ok_codes)
        variables.warn_of_unknown()
        returned = verb(*bound.args, **bound.kwargs)
        # A verb with one outcome returns none, like `--help` and `--version`, which are verbs too.
        code = returned if isinstance(returned, int) else Exit.DONE
    except CycloptsError as error:
        streams.report_error(usage_error(error, VERBS))
        return Exit.USAGE
    except HarvesterError as error:
        streams.report_error(error)
        # The run knows more than the error that ended it: what needs a person as well.
        code = error.exit_code if error.result is None else error.result.exit_code
    except Exception as error:  # noqa: BLE001 - the last line of defence
        lack = shortage(error)
        streams.report_error(lack or error)
        code = Exit.BUG if lack is None else lack.exit_code
    return Exit.DONE if code in ok_codes else code


def _forget_empty_variables() -> None:
    """Remove empty variables: a CI system sets an input that was not filled in to nothing."""
    for name, value in [*os.environ.items()]:
        if name.startswith(variables.PREFIX) and not value:
            del os.environ[name]


def _resume_gc() -> None:
    """Turn on the garbage collector, which was off during imports, for new objects alone."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def main() -> NoReturn:
    """Run the ``harvester`` command and end the process with its exit code."""
    signals.install()
    streams.fix_std_streams()
    hooks.install()
    # A core dump would hold every secret.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    code = invoke(sys.argv[1:])
    # Everything that matters is on disk by now. The interpreter's shutdown would wait for a
    # resolver or a store thread that hangs, and keep a scheduler waiting.
    os._exit(streams.flush(code))
