"""The rows of an output as Arrow datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from harvester.core import calendar
from harvester.readers.output_place import Harvested, OutputPlace, in_order, located
from harvester.readers.row_filter import RowFilter
from harvester.storage import arrow_files, footer


def arrow_dataset(harvested: Harvested, name: str, chosen: RowFilter) -> ds.Dataset:
    """Return the rows of a dataset that match a filter; no row is read yet.

    Raises as `located`, and StoreError for a file that cannot be read.
    """
    tree, found = located(harvested.store, name)
    system = _file_system(harvested.place)
    kept = chosen.files(in_order(found), tree.buckets)
    # Of the newest month, because older files may lack columns that were added since.
    newest = tree.name(next(iter(found)))
    form = ds.ParquetFileFormat()
    with footer.parquet_errors_as_store_errors(tree.store.display_path(newest)):
        # Its keys hold the coverage, which is no part of a table.
        schema = form.inspect(harvested.place.location(newest), system).remove_metadata()
    fragments = [
        form.make_fragment(
            harvested.place.location(tree.name(each)),
            system,
            ds.field("ref_month") == calendar.month_text(each.month),
        )
        for each in kept
    ]
    dataset = _Rows(fragments, schema.append(pa.field("ref_month", pa.string())), form, system)
    condition = chosen.expression()
    return dataset if condition is None else dataset.filter(condition)


class _Rows(ds.FileSystemDataset):  # type: ignore[misc] # pyarrow has no types
    """The files of a dataset, for engines that read them by several threads.

    If Arrow derives a dataset with another schema from it, that one is a plain Arrow dataset.
    """

    def scanner(self, *arguments: Any, **options: Any) -> Any:
        """Return a scanner. The arguments are those of `pyarrow.dataset.Dataset.scanner`."""
        scan = super().scanner(*arguments, **options)
        # `write_dataset` calls it in this way: it needs Arrow's own scanner and makes no reader.
        return scan if not arguments and options.keys() == {"use_threads"} else _Scan(scan)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), super().__reduce__()[1]


class _Scan:
    """A scan whose reader does not hold the interpreter's lock while it starts.

    The ``to_reader`` of Arrow's scans holds the lock, and waits for threads that need it to open
    files in Python. A query of DuckDB could hang for that reason.
    """

    def __init__(self, scan: ds.Scanner) -> None:
        self._scan = scan

    def to_reader(self) -> pa.RecordBatchReader:
        """Return a reader of the batches."""
        return pa.RecordBatchReader.from_batches(
            self._scan.projected_schema, self._scan.to_batches()
        )

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_reader().__arrow_c_stream__(requested_schema)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scan, name)


def _file_system(place: OutputPlace) -> fs.FileSystem:
    if isinstance(place.path, Path):
        return arrow_files.filesystem(place.path)
    # Imported here, because an output on a disk must not pay for loading obstore.
    from harvester.storage.backends.object_files import filesystem  # noqa: PLC0415 - see above

    return filesystem(place.path, place.endpoint, place.options)
