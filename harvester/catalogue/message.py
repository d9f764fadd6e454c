"""The message family: messages that people send to an account."""

from functools import partial

from harvester.core.dataset import REF_DATE, REF_HOUR, Column, Dataset, Grain, Guide, Kind

_dataset = partial(Dataset, family="message", permission=1, pages="mess", checked="2026-11-24")

_WEEK = Column("ref_date", Kind.DATE, "the Monday of the week the row sums up")
_MONTH = Column("ref_date", Kind.DATE, "the first day of the month the row sums up")

_MSG_TYPE = Column(
    "msg_type",
    Kind.COUNT,
    "what was sent",
    "code",
    labels={1: "text", 2: "image", 3: "voice", 4: "video", 6: "link or third-party app"},
)
_COUNT_INTERVAL = Column(
    "count_interval",
    Kind.COUNT,
    "how many messages each of these people sent in the period",
    "code",
    labels={0: "0", 1: "1 to 5", 2: "6 to 10", 3: "more than 10"},
)
_USER_SOURCE = Column("user_source", Kind.COUNT, "always 0; undocumented", "code", required=False)
_MSG_USER = Column("msg_user", Kind.COUNT, "people who sent messages", "people")
_MSG_COUNT = Column("msg_count", Kind.COUNT, "messages they sent", "messages")

_BY_TYPE = (_MSG_TYPE, _USER_SOURCE, _MSG_USER, _MSG_COUNT)
_BY_INTERVAL = (_COUNT_INTERVAL, _USER_SOURCE, _MSG_USER)

_MESSAGES = Guide("upstream_msg", "msg_count")

_by_type = partial(_dataset, span=1, guide=_MESSAGES, key=("ref_date", "msg_type"))
_by_interval = partial(_dataset, span=15, guide=_MESSAGES, key=("ref_date", "count_interval"))

_SAME_PEOPLE = "A person who sends texts and images is in both rows: msg_user does not add up."
_NARROW_SPAN = (
    "WeChat's pages disagree about the span (older ones: 30 days); this is what all of them allow."
)
_PERIOD = "Only the period's first day is asked, once the period is over."

UPSTREAM_MSG = _by_type(
    name="upstream_msg",
    guide=None,
    counts=("msg_count",),
    span=7,
    grain=Grain.DAY,
    settle=3,
    columns=(REF_DATE, *_BY_TYPE),
    description="messages people sent, one row per day and type",
    notes=(_SAME_PEOPLE,),
)

UPSTREAM_MSG_HOUR = _by_type(
    name="upstream_msg_hour",
    grain=Grain.HOUR,
    key=("ref_date", "ref_hour", "msg_type"),
    columns=(REF_DATE, REF_HOUR, *_BY_TYPE),
    description="messages people sent, one row per hour and type",
    notes=(_SAME_PEOPLE, "A person who writes in two hours of a day is in both rows too."),
)

UPSTREAM_MSG_WEEK = _by_type(
    name="upstream_msg_week",
    grain=Grain.WEEK,
    columns=(_WEEK, *_BY_TYPE),
    description="messages people sent, one row per week and type",
    notes=(_PERIOD, _NARROW_SPAN, _SAME_PEOPLE),
)

UPSTREAM_MSG_MONTH = _by_type(
    name="upstream_msg_month",
    grain=Grain.MONTH,
    columns=(_MONTH, *_BY_TYPE),
    description="messages people sent, one row per month and type",
    notes=(_PERIOD, _NARROW_SPAN, _SAME_PEOPLE),
)

UPSTREAM_MSG_DIST = _by_interval(
    name="upstream_msg_dist",
    grain=Grain.DAY,
    settle=3,
    columns=(REF_DATE, *_BY_INTERVAL),
    description="people by how many messages they sent, one row per day and range",
)

UPSTREAM_MSG_DIST_WEEK = _by_interval(
    name="upstream_msg_dist_week",
    grain=Grain.WEEK,
    columns=(_WEEK, *_BY_INTERVAL),
    description="people by how many messages they sent, one row per week and range",
    notes=(_PERIOD, _NARROW_SPAN),
)

UPSTREAM_MSG_DIST_MONTH = _by_interval(
    name="upstream_msg_dist_month",
    grain=Grain.MONTH,
    columns=(_MONTH, *_BY_INTERVAL),
    description="people by how many messages they sent, one row per month and range",
    notes=(_PERIOD, _NARROW_SPAN),
)

DATASETS = (
    UPSTREAM_MSG,
    UPSTREAM_MSG_HOUR,
    UPSTREAM_MSG_WEEK,
    UPSTREAM_MSG_MONTH,
    UPSTREAM_MSG_DIST,
    UPSTREAM_MSG_DIST_WEEK,
    UPSTREAM_MSG_DIST_MONTH,
)
