"""An export of a large month in steps, each in a process of its own; prints the seconds.

``begin`` is a run that publishes nothing, and brings the tables beside the datasets. ``change``
publishes the answers of `large_month` as a run does, with an entry of the change feed. ``copy``
reads the file, writes it beside, flushes it and has its digest. ``export`` exports into a format.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks.programs.large_month import DATASET, HERE
from harvester.runs.record.record import Record
from harvester.runs.run_log import RunLog, recorded
from harvester.runs.stream import Stream
from harvester.storage import publish, raw_log
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import Tree
from harvester.verbs.lakehouse.export import export
from tests.support.output_helpers import ANY_TIME

BLOCK = 1 << 20


def run(root: Path, *, publishes: bool) -> None:
    """Record a run, and publish the groups in it."""
    tree = Tree(LocalStore(root))
    log = RunLog(Stream(Record.begun(Path("jobs.yaml"), time.time()), time.time))
    with recorded(log):
        log.open(tree, [0])
        if not publishes:
            return
        groups = raw_log.unpublished(tree, [0])[0]
        log.record_published(publish.publish(tree, DATASET, HERE, groups, ANY_TIME))


def copy(root: Path) -> None:
    """Copy the bytes, with their digest, as a copy needs one for its name."""
    tree, digest = Tree(LocalStore(root)), hashlib.sha256()
    with (
        Path(tree.store.display_path(tree.name(HERE))).open("rb") as read,
        root.with_name("copied").open("wb") as write,
    ):
        while block := read.read(BLOCK):
            digest.update(block)
            write.write(block)
        write.flush()
        os.fsync(write.fileno())


def main(step: str, root: Path, to: str) -> None:
    """Do one step."""
    # Start-up counts for the command alone.
    import_module(f"harvester.verbs.lakehouse.{to}")
    begun, changed = time.perf_counter(), 0
    if step in ("begin", "change"):
        run(root, publishes=step == "change")
    elif step == "copy":
        copy(root)
    else:
        done = export(root.with_name(to), to=to, output=root)  # type: ignore[arg-type]
        changed = max(table.rows for table in done.tables)
    print(json.dumps({"seconds": time.perf_counter() - begun, "rows": changed}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
