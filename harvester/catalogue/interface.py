"""The interface family: replies of an account's own server to the messages WeChat pushes to it."""

from __future__ import annotations

from functools import partial

from harvester.core.dataset import Column, Dataset, Grain, Kind

_dataset = partial(Dataset, family="interface", permission=3, pages="api", checked="2026-11-24")

_REF_DATE = Column("ref_date", Kind.DATE, "the Beijing day the row sums up")

_MILLISECONDS = "milliseconds (by magnitude; WeChat names no unit)"
_METRICS = (
    Column("callback_count", Kind.COUNT, "replies WeChat asked the account's server for", "calls"),
    Column("fail_count", Kind.COUNT, "how many of those failed", "calls"),
    Column(
        "total_time_cost",
        Kind.COUNT,
        "time all of them took together; divide by callback_count for the average",
        _MILLISECONDS,
    ),
    Column("max_time_cost", Kind.COUNT, "the longest single one", _MILLISECONDS),
)

INTERFACE_SUMMARY = _dataset(
    name="interface_summary",
    span=30,
    grain=Grain.DAY,
    settle=3,
    key=("ref_date",),
    columns=(_REF_DATE, *_METRICS),
    description="replies of the account's server, a row a day",
    notes=("callback_count may be 0: guard the division.",),
    example="""\
-- How long did the account's server take to answer, and how often did it fail?
SELECT appid, ref_month,
       sum(callback_count) AS calls,
       sum(total_time_cost) / nullif(sum(callback_count), 0) AS average_ms,
       max(max_time_cost) AS slowest_ms,
       100.0 * sum(fail_count) / nullif(sum(callback_count), 0) AS failed_percent
FROM read_parquet('output/interface_summary/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, ref_month
ORDER BY appid, ref_month;""",
)

INTERFACE_SUMMARY_HOUR = _dataset(
    name="interface_summary_hour",
    span=1,
    grain=Grain.HOUR,
    key=("ref_date", "ref_hour"),
    columns=(
        _REF_DATE,
        Column("ref_hour", Kind.HOUR, "the hour the row sums up", "0 to 23, Beijing time"),
        *_METRICS,
    ),
    description="replies of the account's server, a row an hour",
    notes=("An hour without a call may have no row, and callback_count may be 0.",),
    example="""\
-- At which hours is the account's server slowest?
SELECT appid, ref_hour,
       sum(total_time_cost) / nullif(sum(callback_count), 0) AS average_ms,
       max(max_time_cost) AS slowest_ms
FROM read_parquet('output/interface_summary_hour/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, ref_hour
ORDER BY average_ms DESC NULLS LAST
LIMIT 20;""",
)

DATASETS = (INTERFACE_SUMMARY, INTERFACE_SUMMARY_HOUR)
