"""The rows of an output as Arrow datasets."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from harvester.core import calendar
from harvester.readers.output_place import Harvested, OutputPlace, in_order, located
from harvester.readers.row_filter import RowFilter
from harvester.storage import arrow_files, footer


def arrow_dataset(harvested: Harvested, name: str, chosen: RowFilter) -> ds.Dataset:
    """Return the rows of a dataset that a filter leaves; no row is read yet.

    Raises as `located`, and StoreError for a file that cannot be read.
    """
    tree, found = located(harvested.store, name)
    system = _file_system(harvested.place)
    kept = [each for each in in_order(found) if chosen.may_hold(each, tree.buckets)]
    names = [tree.name(each) for each in kept]
    # Of the newest month, because older files may lack columns that were added since.
    newest = tree.name(next(iter(found)))
    form = ds.ParquetFileFormat()
    with footer.parquet_errors_as_store_errors(tree.store.display_path(newest)):
        # Its keys hold the coverage, which is no part of a table.
        schema = form.inspect(harvested.place.location(newest), system).remove_metadata()
    dataset = ds.FileSystemDataset.from_paths(
        [harvested.place.location(each) for each in names],
        schema=schema.append(pa.field("ref_month", pa.string())),
        format=form,
        filesystem=system,
        partitions=[ds.field("ref_month") == calendar.month_text(each.month) for each in kept],
    )
    condition = chosen.expression()
    return dataset if condition is None else dataset.filter(condition)


def _file_system(place: OutputPlace) -> fs.FileSystem:
    if isinstance(place.path, Path):
        return arrow_files.filesystem(place.path)
    # Imported here, because an output on a disk must not pay for loading obstore.
    from harvester.storage.backends.object_files import filesystem  # noqa: PLC0415 - see above

    return filesystem(place.path, place.endpoint, place.options)
