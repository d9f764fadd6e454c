"""The verbs of ``harvester`` in the order of a user's work, and its help."""

from __future__ import annotations

from cyclopts import App, Parameter

from harvester import __version__
from harvester.cli import command_line
from harvester.cli.output import streams

VERBS = {
    "init": "Print a commented manifest, or write it to a new file.",
    "check": "Show which accounts work: one token and one cheap call per family of each.",
    "plan": "Show what a run would ask and what limits its speed. Asks nothing, writes nothing.",
    "run": "Fetch what the output lacks and publish it. Safe to repeat and to kill.",
    "status": "Show coverage, gaps, quarantine and the last runs.",
    "report": "Write coverage, attention, expectations and runs as one page.",
    "fetch": "Ask for one window now, and compare the answer with the published rows.",
    "changes": "List the files that were replaced since a cursor, as JSON lines.",
    "sql": "Print views of the output, with names and labels, for DuckDB or Spark.",
    "export": "Bring tables of a lakehouse up to date: Iceberg, Delta or DuckLake.",
    "verify": "Check every file against itself, its data included.",
    "rewrite": "Write a fresh output with another number of buckets or newer columns.",
    "forget": "Delete accounts for good: rows, answers, quarantine, names. Prints a receipt.",
    "datasets": "List the catalogue, or describe one dataset.",
    "explain": "Explain an errcode of WeChat, and what to do about it.",
    "schema": "Print the manifest's JSON Schema.",
    "sandbox": "Serve the built-in WeChat emulator to other clients.",
}
"""Each verb is a function of a module of its own name, loaded only when it is called."""

_EPILOGUE = """Try it without an account, against the built-in emulator:
  harvester init jobs.yaml
  harvester run jobs.yaml

`harvester help VERB` has the options, the exit codes and an example of a verb.
Documentation: docs/cli.md"""

app = App(
    name="harvester",
    help="Harvest WeChat Official Account statistics into partitioned Parquet.",
    help_format="plaintext",
    help_epilogue=_EPILOGUE,
    version=__version__,
    version_flags=["--version", "-V"],
    console=streams.HelpConsole(),
    config=command_line.remember,
    # No option has a form that takes it back, such as `--no-repair` or `--empty-accounts`.
    default_parameter=Parameter(negative=""),
)


for _place, (_name, _summary) in enumerate(VERBS.items()):
    app.command(
        f"harvester.cli.commands.{_name}:{_name}",
        name=_name,
        help=_summary,
        help_epilogue=f"Documentation: docs/cli.md#harvester-{_name}",
        sort_key=_place,
    )


def spelled_out(arguments: list[str]) -> list[str]:
    """Return a command line with ``help`` and ``version`` written as options."""
    match arguments:
        case ["help", *verb]:
            return [*verb, "--help"]
        case ["version"]:
            return ["--version"]
    return arguments
