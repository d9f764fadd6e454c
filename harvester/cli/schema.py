"""``harvester schema``: the manifest's JSON Schema, for editors."""

from __future__ import annotations

import json

from harvester.cli import streams
from harvester.manifest import json_schema


def schema() -> int:
    """Print the manifest's JSON Schema."""
    with streams.answering():
        print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0
