"""``harvester schema``: the manifest's JSON Schema, for editors."""

from __future__ import annotations

from harvester.cli.output.answers import answer
from harvester.manifest.json_schema import json_schema


def schema() -> None:
    """Print the manifest's JSON Schema.

    For example:
      harvester schema > jobs.schema.json

    Exit codes:
      0  printed
    """
    answer("json", json_schema, print)
