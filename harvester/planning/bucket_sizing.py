"""How large files will be, and how many buckets keep them small enough to be read well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from math import ceil

from harvester.core import calendar
from harvester.core.calendar import DaySet
from harvester.core.config import Manifest
from harvester.core.dataset import DATE_COLUMN, Dataset, Kind
from harvester.core.model import bucket_of

MOST_ROWS = 2_000_000
"""In a file. It is replaced as a whole whenever a day of its month comes."""

_LONGEST_MONTH = 31


def warnings(manifest: Manifest, want: Mapping[str, Mapping[str, DaySet]]) -> Iterator[str]:
    """A line for each dataset whose files would pass MOST_ROWS, with the buckets that fit."""
    buckets = manifest.output.buckets
    for name, of_dataset in want.items():
        dataset = manifest.datasets[name]
        # Most outputs are so small that nothing needs to be counted to see it.
        if rows_a_day(dataset) * _LONGEST_MONTH * len(of_dataset) <= MOST_ROWS:
            continue
        rows_each = rows_a_day(dataset) * _longest_month(of_dataset)
        most = rows_each * _fullest(of_dataset, buckets)
        if most > MOST_ROWS:
            yield (
                f"{name}: a month may come to {most / 1e6:.1f} million rows a file, and "
                f"{MOST_ROWS / 1e6:.0f} million are enough: output.buckets: "
                f"{buckets_for(of_dataset, rows_each)} fits; `harvester rewrite` changes it"
            )


def rows_a_day(dataset: Dataset) -> int:
    """How many rows an account has on a busy day, by the dataset's key; 1 where that is open."""
    rows = 1
    for column in dataset.columns:
        if column.name in dataset.key and column.name != DATE_COLUMN:
            rows *= 24 if column.kind is Kind.HOUR else max(1, len(column.labels))
    return rows


def buckets_for(appids: Mapping[str, object], rows_each: int) -> int:
    """The fewest buckets none of which passes MOST_ROWS; as many as accounts if none is enough."""
    buckets = ceil(rows_each * len(appids) / MOST_ROWS)
    while buckets < len(appids) and rows_each * _fullest(appids, buckets) > MOST_ROWS:
        buckets += 1
    return buckets


def _fullest(appids: Mapping[str, object], buckets: int) -> int:
    """How many accounts the fullest bucket has."""
    return max(Counter(bucket_of(appid, buckets) for appid in appids).values())


def _longest_month(wanted: Mapping[str, DaySet]) -> int:
    """How many days of a month are wanted of an account, at the most."""
    longest = 0
    for of_account in set(wanted.values()):
        for month in calendar.each_month(of_account):
            longest = max(longest, calendar.count_days(calendar.month_mask(of_account, month)))
            if longest == _LONGEST_MONTH:
                return longest
    return longest
