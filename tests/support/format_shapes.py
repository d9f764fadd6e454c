"""Members of the files of an output, by kind, with the version that stands for them.

``python -m tests.support.format_shapes`` writes those of this build, after the version of what has
changed was raised.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from harvester.storage.state.packed_lines import LINES, unpack
from harvester.tables.coverage import VERSION, AccountDays
from tests.support.doc_pages import ROOT
from tests.support.group_files import taken_apart
from tests.support.released_tree import leave_output

SHAPES = ROOT / "tests" / "data" / "format_shapes.json"

_LINES = {"changes", "manifests", "quota", "tables"}


def footer_keys(path: Path) -> dict[bytes, bytes]:
    """Return the keys in the footer of a Parquet file, without Arrow's own."""
    keys = pq.read_metadata(path).metadata or {}
    return {name: value for name, value in keys.items() if name != b"ARROW:schema"}


def version_of(path: Path) -> Any:
    """Return the version that a file of an output states, None or 0 if there is none."""
    if path.suffix == ".parquet":
        keys = footer_keys(path)
        found = keys.get(b"harvester.schema_version") or keys.get(b"harvester.table_version")
        return int(found) if found else None
    if path.suffix == ".group":
        text = path.read_bytes()
        return int(
            json.loads(text[text.rindex(b'{"version"') :].partition(b"}")[0] + b"}")["version"]
        )
    if path.parent.name == "index":
        return path.read_bytes()[0]
    if path.name.endswith(LINES):
        return min(json.loads(line).get("version", 0) for line in unpack(path.read_bytes()))
    found = json.loads(path.read_text("utf-8"))
    return found.get("version") or found.get("record_version")


def shapes_of(left: Path) -> dict[str, Any]:
    """Return the version and the members of the side files of an output, by kind."""
    found: dict[str, Any] = {}
    for path in sorted((left / "output/_harvester").rglob("*.*")):
        kind = path.relative_to(left / "output/_harvester").parts[0]
        if kind in _LINES:
            lines = unpack(path.read_bytes()) if path.name.endswith(LINES) else [path.read_bytes()]
            shapes = {json.dumps(_shape_of(json.loads(line))) for line in lines}
            known = found.get(kind, {"members": []})["members"]
            found[kind] = {"version": version_of(path), "members": sorted({*known, *shapes})}
        elif path.suffix == ".group":
            index, _ = taken_apart(path.read_bytes())
            found["raw"] = {"version": index["version"], "members": _shape_of(index)}
    coverage = {"version": VERSION, "members": [each.name for each in fields(AccountDays)]}
    return {**found, "coverage": coverage}


def _shape_of(value: Any) -> Any:
    """Return the members of a JSON value, without what they say."""
    if isinstance(value, dict):
        return {name: _shape_of(each) for name, each in sorted(value.items())}
    if isinstance(value, list):
        return sorted({json.dumps(_shape_of(each)) for each in value})
    return "."


def main() -> None:
    """Write the members of this build."""
    with tempfile.TemporaryDirectory() as folder:
        leave_output(Path(folder))
        SHAPES.write_text(f"{json.dumps(shapes_of(Path(folder)), indent=1)}\n", "utf-8")


if __name__ == "__main__":
    main()
