"""Field ids of the columns of all tables, and of their members, from ``field_ids.json``.

Readers of Iceberg tables find a column in a file by its id, so an id is given once: a new column
gets the next number of its table, whatever its place, and the number of a column that went away is
not used again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources


def field_ids(table: str) -> Mapping[str, int]:
    """Return the ids of a dataset or a table beside them, by path such as ``tags.element``."""
    return _all().get(table, {})


@cache
def _all() -> dict[str, dict[str, int]]:
    file = resources.files("harvester.catalogue") / "field_ids.json"
    found: dict[str, dict[str, int]] = json.loads(file.read_text("utf-8"))
    return found
