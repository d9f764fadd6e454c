"""``harvester export``: the output as tables of a lakehouse."""

from __future__ import annotations

from typing import Annotated

from harvester.cli import options
from harvester.cli.output.answers import answer
from harvester.cli.output.terminal import Terminal
from harvester.core.exit_codes import Exit
from harvester.core.text.inert_text import inert
from harvester.core.text.wording import counted
from harvester.verbs.lakehouse import export as exporting


def export(
    uri: Annotated[str, options.value("HARVESTER_URI")],
    /,
    *,
    to: Annotated[exporting.Format, options.value("HARVESTER_TO")],
    output: Annotated[str, options.value("HARVESTER_OUTPUT")],
    catalog: Annotated[str | None, options.value("HARVESTER_CATALOG")] = None,
    warehouse: Annotated[str | None, options.value("HARVESTER_WAREHOUSE")] = None,
    schema: Annotated[str, options.value("HARVESTER_SCHEMA")] = "wechat",
    expire: Annotated[bool, options.value("HARVESTER_EXPIRE")] = False,
    selecting: options.Selecting = options.ALL,
    lock_timeout: options.LockTimeout = None,
    format: options.Format = "text",
    _ok_exit: options.OkExit = "",
) -> int:
    """Bring tables of a lakehouse up to date with an output.

    Follows the change feed once and ends: files are copied below the URI, and one
    commit per table replaces the files that changed. Writes nothing into the
    output, asks nothing, needs no secret of WeChat and no manifest.

    For example:
      harvester export s3://bucket/lake --to delta --output s3://bucket/wechat

    Exit codes:
      0   the tables are up to date
      1   the output or the tables cannot be read or written
      2   a mistake in the options, or a table there is not harvester's
      3   as 0, but older snapshots still hold rows that were deleted for good
      75  another writer was faster, or a catalog or store is away: run again

    Params:
        uri: The place of the tables, beside the output: a directory or s3://…, gs://…, az://….
        to: The format of the tables.
        output: The output: a directory or s3://…, gs://…, az://….
        catalog: The catalog of Iceberg: https://… (REST) or sqlite:///…, postgresql://…; of
            DuckLake: sqlite:… or postgres:…. By default a file below the URI.
        warehouse: The warehouse by the name that a REST catalog knows.
        schema: The namespace of the tables in a catalog.
        expire: Remove all snapshots but the newest, and the files of those.
    """
    done = exporting.export(
        uri,
        to=to,
        output=output,
        catalog=catalog,
        warehouse=warehouse,
        schema=schema,
        expire=expire,
        lock_timeout=lock_timeout,
        chosen=selecting.chosen(),
    )
    answer(format, done.to_dict, lambda out: _print_tables(out, done))
    return Exit.INCOMPLETE if done.holding else Exit.DONE


def _print_tables(out: Terminal, done: exporting.Exported) -> None:
    for table in done.tables:
        is_changed = table.added or table.removed
        added = counted(table.added, "file")
        change = f"{added} added, {table.removed:,} removed" if is_changed else "as before"
        out.say(f"{table.name:<28}version {inert(table.version)}: {change}")
    for table in done.holding:
        many, names = len(table.holding), ", ".join(map(inert, table.holding[:2]))
        older = f"{many:,} older snapshot{'s' * (many != 1)}"
        out.say(f"{table.name}: rows deleted for good in {older}: {names}")
    if done.holding:
        out.print("remove them with --expire, or with the table's own expiry")
    elif not done.tables:
        out.print("nothing was harvested of what is selected")
