"""The user family: followers that an account gains and loses, and the channels they came by."""

from functools import partial

from harvester.core.dataset import REF_DATE, Column, Dataset, Grain, Kind

_dataset = partial(
    Dataset,
    span=7,
    grain=Grain.DAY,
    settle=3,
    family="user",
    permission=2,
    pages="user",
    checked="2026-11-24",
)

_CHANNELS = {
    0: "other, since 2023-06 also followed after a payment",
    1: "search for an Official Account",
    3: "QR code (older answers)",
    10: "seen in an answer of 2020-06; WeChat does not document it",
    11: "seen in an answer of 2020-06; WeChat does not document it",
    17: "shared contact card",
    30: "QR code",
    35: "search by the account's number (older answers)",
    39: "looking up an Official Account (older answers)",
    43: "menu at the top right of an article (older answers)",
    51: "followed after a payment (older answers)",
    57: "account name inside an article",
    100: "WeChat ads",
    149: "Mini Program",
    161: "article that others reposted",
    200: "Channels (视频号)",
    201: "live stream",
}

USER_SUMMARY = _dataset(
    name="user_summary",
    key=("ref_date", "user_source"),
    columns=(
        REF_DATE,
        Column("user_source", Kind.COUNT, "how the followers came", "code", labels=_CHANNELS),
        Column("new_user", Kind.COUNT, "followers gained", "people"),
        Column("cancel_user", Kind.COUNT, "followers lost", "people"),
    ),
    description="followers gained and lost, one row per day and channel",
    notes=(
        "A day's total is the sum over all its rows: user_source 0 is one channel among others.",
        "WeChat sends new channels before it documents them.",
    ),
)

USER_CUMULATE = _dataset(
    name="user_cumulate",
    key=("ref_date",),
    columns=(
        REF_DATE,
        Column("user_source", Kind.COUNT, "always 0; undocumented", "code", required=False),
        Column("cumulate_user", Kind.COUNT, "followers at the end of the day", "people"),
    ),
    description="followers in all, one row per day",
    gapless=True,
    notes=("A stock, not a flow: take a day's value, never a sum over days.",),
)

DATASETS = (USER_SUMMARY, USER_CUMULATE)
