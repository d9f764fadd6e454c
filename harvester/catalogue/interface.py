"""The interface family: replies of an account's own server to the messages WeChat pushes to it."""

from functools import partial

from harvester.core.dataset import REF_DATE, REF_HOUR, Column, Dataset, Grain, Guide, Kind

_dataset = partial(Dataset, family="interface", permission=3, pages="api", checked="2026-11-24")

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
    counts=("callback_count",),
    span=30,
    grain=Grain.DAY,
    settle=3,
    key=("ref_date",),
    columns=(REF_DATE, *_METRICS),
    description="replies of the account's server, one row per day",
    notes=("callback_count may be 0: guard the division.",),
)

INTERFACE_SUMMARY_HOUR = _dataset(
    name="interface_summary_hour",
    guide=Guide("interface_summary", "callback_count"),
    span=1,
    grain=Grain.HOUR,
    key=("ref_date", "ref_hour"),
    columns=(REF_DATE, REF_HOUR, *_METRICS),
    description="replies of the account's server, one row per hour",
    notes=("An hour without a call may have no row, and callback_count may be 0.",),
)

DATASETS = (INTERFACE_SUMMARY, INTERFACE_SUMMARY_HOUR)
