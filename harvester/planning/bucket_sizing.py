"""The size of future files, and the number of buckets that keeps them small enough to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from math import ceil

from harvester.core.calendar import DaySet
from harvester.core.config.settings import Manifest
from harvester.core.dataset import DATE_COLUMN, Dataset, Grain, Kind
from harvester.core.model import bucket_of

MAX_ROWS = 2_000_000
"""Maximum rows of a file: it is replaced as a whole for every new day of its month."""

_PERIODS_OF_MONTH = {Grain.HOUR: 31, Grain.DAY: 31, Grain.WEEK: 5, Grain.MONTH: 1}


def warnings(manifest: Manifest, want: Mapping[str, Mapping[str, DaySet]]) -> Iterator[str]:
    """Yield a line for each dataset whose files would pass MAX_ROWS, with buckets that fit."""
    buckets = manifest.output.buckets
    for name, of_dataset in want.items():
        dataset = manifest.datasets[name]
        # Of a whole month, because the runs of its days fill one file.
        rows_each = rows_a_day(dataset) * _PERIODS_OF_MONTH[dataset.grain]
        # Most outputs are so small that nothing needs to be counted to see it.
        if rows_each * len(of_dataset) <= MAX_ROWS:
            continue
        most = rows_each * _fullest(of_dataset, buckets)
        if most > MAX_ROWS:
            yield (
                f"{name}: a month may come to {most / 1e6:.1f} million rows a file, and "
                f"{MAX_ROWS / 1e6:.0f} million are enough: output.buckets: "
                f"{buckets_for(of_dataset, rows_each)} fits; `harvester rewrite` changes it"
            )


def rows_a_day(dataset: Dataset) -> int:
    """Return the rows of an account on a busy day by the dataset's key; 1 if the key is open."""
    rows = 1
    for column in dataset.columns:
        if column.name in dataset.key and column.name != DATE_COLUMN:
            rows *= 24 if column.kind is Kind.HOUR else max(1, len(column.labels))
    return rows


def buckets_for(appids: Mapping[str, object], rows_each: int) -> int:
    """Return the fewest buckets that all stay within MAX_ROWS, at most one an account."""
    buckets = ceil(rows_each * len(appids) / MAX_ROWS)
    while buckets < len(appids) and rows_each * _fullest(appids, buckets) > MAX_ROWS:
        buckets += 1
    return buckets


def _fullest(appids: Mapping[str, object], buckets: int) -> int:
    """Return the number of accounts in the fullest bucket."""
    return max(Counter(bucket_of(appid, buckets) for appid in appids).values())
