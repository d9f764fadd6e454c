"""Published rows of one account and a few days."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harvester.core import calendar
from harvester.core.dataset import DATE_COLUMN
from harvester.core.model import Window, bucket_of
from harvester.storage import arrow_files, layout, partition_reader
from harvester.storage.footer import parquet_errors_as_store_errors
from harvester.storage.layout import Tree
from harvester.storage.partition_reader import DataFile


def published_rows(tree: Tree, window: Window) -> Iterator[pa.Table]:
    """Yield the published rows of a window, a table for each month that has a file.

    For the holder of the account's bucket. Raises StoreError, and UsageError for files of a newer
    version or another number of buckets.
    """
    bucket = bucket_of(window.appid, tree.buckets)
    months = {*calendar.each_month(calendar.day_range(window.begin, window.end))}
    for partition in reversed(layout.partitions(tree, window.dataset, [bucket])):
        if partition.month in months:
            name = tree.name(partition)
            with partition_reader.opened(tree.store, name, older=True) as file:
                if file is not None:
                    yield _filtered(file, window)


def _filtered(file: DataFile, window: Window) -> pa.Table:
    day = pc.field(DATE_COLUMN)
    begin, end = map(calendar.date_of, (window.begin, window.end))
    # Also filters whole row groups by their statistics, so that a large file is not read.
    rows = (pc.field("appid") == window.appid) & (day >= begin) & (day <= end)
    with (
        parquet_errors_as_store_errors(file.display_path),
        arrow_files.open_file(file.path) as source,
    ):
        return pq.read_table(source, filters=rows)
