"""Tables about an output: the state of its days, and the runs."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from harvester.readers.output_place import located
from harvester.storage.backends.base import Store
from harvester.storage.derived import derived_files
from harvester.storage.derived.derived_runs import HEAD_BYTES, RecordedRun, runs_table
from harvester.storage.layout import COVERAGE, Tree
from harvester.storage.state import run_records


def coverage(store: Store, name: str | None) -> pa.Table:
    """Return the coverage of one dataset or of all, by month and key.

    Raises as `located`, and DamagedOutput for a damaged file of the table.
    """
    found = derived_files.read_all(store, COVERAGE)
    if name is None:
        return found
    located(store, name)
    return found.filter(pc.equal(found["dataset"], name))


def runs(store: Store) -> pa.Table:
    """Return the runs that have left a record, oldest first. Raises StoreError and UsageError."""
    found = [*run_records.newest(Tree(store), RecordedRun, HEAD_BYTES)]
    return runs_table(reversed(found))
