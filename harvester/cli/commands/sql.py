"""``harvester sql``: views of an output, to load into an engine."""

from __future__ import annotations

import sys
from typing import Annotated

from harvester.cli import options
from harvester.cli.output.streams import stdout_output
from harvester.verbs.sql import script as views


def sql(
    manifest: options.ManifestPath = options.JOBS,
    /,
    *,
    engine: Annotated[views.Engine, options.value("HARVESTER_ENGINE")],
    schema: Annotated[str, options.value("HARVESTER_SCHEMA")] = "wechat",
    base: Annotated[str | None, options.value("HARVESTER_BASE")] = None,
    selecting: options.Selecting = options.ALL,
    output: options.Output = None,
    _ok_exit: options.OkExit = "",
) -> None:
    """Print the views of an output as SQL, to load into DuckDB or Spark.

    Views of every dataset and table with names, tags, attributes and labels, and
    reports in English and Chinese; comments tell the meaning and the unit of each
    column. What is not selected is in no view. Reads names alone, asks nothing,
    needs no secret, and with --output no manifest.

    For example:
      harvester sql jobs.yaml --engine duckdb > views.sql

    Exit codes:
      0   printed
      1   the output cannot be read
      2   a mistake in the manifest or the options
      75  an object store is away, or refuses: run again

    Params:
        engine: The engine that the statements are for.
        schema: The schema of the views. Spark has none for them: their names begin with it.
        base: The output as the engine sees it, an absolute path or a URL: s3://bucket/wechat.
    """
    source, chosen = options.manifest_of(manifest, output), selecting.chosen()
    found = views.sql(source, engine=engine, schema=schema, base=base, chosen=chosen, output=output)
    with stdout_output():
        # Engines take UTF-8, also where a terminal does not.
        sys.stdout.buffer.write(found.encode())
