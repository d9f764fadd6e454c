"""The rows of an output as Arrow datasets, of some days and accounts."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from harvester.core import calendar
from harvester.core.calendar import Day
from harvester.core.config import parsers
from harvester.core.errors import UsageError
from harvester.readers.output_place import OutputPlace, located
from harvester.storage import arrow_files, footer
from harvester.storage.backends.base import Store
from harvester.verbs.changes import ChosenChanges


def days_between(
    begin: str | dt.date | None, end: str | dt.date | None, now: float
) -> tuple[Day | None, Day | None]:
    """Return the first and the last Beijing day of a call, as in a job. Raises UsageError.

    ``now`` is in seconds since the Unix epoch, and decides what ``-30d`` means.
    """
    today = calendar.today(now)
    first = _day("begin_date", begin, lambda text: parsers.begin_day(text, today))
    last = _day("end_date", end, lambda text: parsers.end_day(text, today))
    if first is not None and last is not None and first > last:
        raise UsageError("begin_date is after end_date", "swap them")
    return first, last


def _day(what: str, day: str | dt.date | None, parse: Callable[[str], Day | None]) -> Day | None:
    if day is None:
        return None
    # A day is parsed without a limit to the past: an output may be ahead of this machine's clock.
    parse = parsers.day if re.fullmatch(parsers.DAY, str(day)) else parse
    return parsers.option_value(what, str(day), parse)


def arrow_dataset(place: OutputPlace, store: Store, name: str, chosen: ChosenChanges) -> ds.Dataset:
    """Return the chosen rows of a dataset; no row is read yet.

    Raises as `located`, and StoreError for a file that cannot be read.
    """
    (tree, found), system = located(store, name), _file_system(place)
    kept = [each for each in found if chosen.has_file(tree.name(each))]
    # Of the newest month, because older files may lack columns that were added since.
    newest = tree.name([*found][-1])
    form = ds.ParquetFileFormat()
    with footer.parquet_errors_as_store_errors(tree.store.display_path(newest)):
        # Its keys hold the coverage, which is no part of a table.
        schema = form.inspect(place.location(newest), system).remove_metadata()
    month = ds.field("ref_month")
    fragments = [
        form.make_fragment(
            place.location(tree.name(each)), system, month == calendar.month_text(each.month)
        )
        for each in kept
    ]
    dataset = _Rows(fragments, schema.append(pa.field("ref_month", pa.string())), form, system)
    condition = chosen.condition(schema.names)
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
