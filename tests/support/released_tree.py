"""Outputs as releases have left them, which every later version must read.

``python -m tests.support.released_tree`` adds one of this version to ``tests/data/releases``.
An archive is made once and never changed: it is what users have on their disks.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

import harvester
from harvester.core.calendar import parse_day
from harvester.core.errors import RunFailed
from harvester.core.model import bucket_of
from harvester.storage.raw_log import write_group
from harvester.testing import Sandbox, sandbox
from tests.support import event_schema
from tests.support.answers import of_day
from tests.support.output_helpers import tree_at

FOLDER = Path(__file__).parents[1] / "data" / "releases"

DATASETS = (
    *("interface_summary", "interface_summary_hour", "user_summary", "upstream_msg_week"),
    *("article_total_detail", "biz_summary"),
)
ACCOUNTS = 4
TODAY = "2026-05-20"
"""The day of the emulator for the runs of a release."""


def archive_of(version: str) -> Path:
    """Return the archive of a release."""
    return FOLDER / f"{version}.tar.gz"


def manifest_of(wechat: Sandbox, output: Path, end: str) -> dict[str, Any]:
    """Return a manifest that uses most keys, for two buckets."""
    found = wechat.manifest(DATASETS, begin_date="2026-04-20", end_date=end)
    first, second, third, *_ = found["accounts"]
    first |= {"name": "Acme Service", "tags": ["retail"], "attributes": {"client": "Acme"}}
    second |= {"name": "晨光书店", "attributes": {"client": "晨光", "region": "华东"}}
    third |= {"paused": {"datasets": ["biz_*"], "reason": "not verified"}}
    found["output"] = {"path": str(output), "buckets": 2}
    found["expect"] = {"interface_summary": {"min_share_with_rows": "10%"}}
    return found


def rows_of(table: pa.Table, names: list[str]) -> str:
    """Return a digest of some columns of rows, whatever their order."""
    rows = sorted(
        json.dumps(row, sort_keys=True, default=str) for row in table.select(names).to_pylist()
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def facts_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return what a reader finds in an output, to be found by later versions too."""
    output = harvester.open(manifest["output"]["path"])
    tables = {name: output.arrow(name).to_table() for name in output.datasets}
    _, cursor = output.changes()
    return {
        "datasets": {
            name: {
                "columns": table.column_names,
                "rows": len(table),
                "digest": rows_of(table, table.column_names),
            }
            for name, table in tables.items()
        },
        "covered": {name: output.coverage(name).num_rows for name in output.datasets},
        "runs": sorted(output.runs()["run_id"].to_pylist()),
        "changes": len(output.changes()[0]),
        "cursor": cursor,
    }


def leave_output(folder: Path) -> dict[str, Any]:
    """Harvest as users do: two runs, a refusal, and answers that a killed run has left."""
    with sandbox(accounts=ACCOUNTS, today=TODAY) as wechat:
        manifest = manifest_of(wechat, folder / "output", "2026-05-10")
        harvester.run(manifest)
        wechat.fail(wechat.accounts[1], 48001, dataset="user_summary")
        manifest = manifest_of(wechat, folder / "output", "2026-05-18")
        with suppress(RunFailed):
            harvester.run(manifest)
        facts = facts_of(manifest)
    tree, bucket = tree_at(folder / "output", 2), bucket_of(wechat.accounts[0], 2)
    write_group(tree, bucket, "killed", [of_day(parse_day("2026-05-18"))])
    (folder / "facts.json").write_text(json.dumps(facts, indent=1))
    (folder / "jobs.yaml").write_text(json.dumps(manifest, indent=1, ensure_ascii=False), "utf-8")
    return facts


def unpack(version: str, folder: Path) -> dict[str, Any]:
    """Unpack the output of a release and its manifest; return its facts."""
    with tarfile.open(archive_of(version)) as archive:
        archive.extractall(folder, filter="data")
    facts: dict[str, Any] = json.loads((folder / "facts.json").read_text("utf-8"))
    return facts


def main() -> None:
    """Write the archive of this version, unless there is one."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        leave_output(folder)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=9) as archive:
            for entry in sorted(folder.iterdir()):
                archive.add(entry, entry.name)
        with archive_of(harvester.__version__).open("xb") as file:
            file.write(packed.getvalue())
    events = json.dumps(event_schema.schema(), indent=1, ensure_ascii=False)
    (FOLDER / f"{harvester.__version__}.events.json").write_text(f"{events}\n", "utf-8")


if __name__ == "__main__":
    main()
