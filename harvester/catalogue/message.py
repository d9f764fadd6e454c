"""The message family: messages that people send to an account."""

from __future__ import annotations

from functools import partial

from harvester.core.dataset import Column, Dataset, Grain, Kind

_dataset = partial(Dataset, family="message", permission=1, pages="mess", checked="2026-11-24")

_DAY = Column("ref_date", Kind.DATE, "the Beijing day the row sums up")
_WEEK = Column("ref_date", Kind.DATE, "the Monday of the week the row sums up")
_MONTH = Column("ref_date", Kind.DATE, "the first day of the month the row sums up")
_HOUR = Column("ref_hour", Kind.HOUR, "the hour the row sums up", "0 to 23, Beijing time")

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

_by_type = partial(_dataset, span=1, key=("ref_date", "msg_type"))
_by_interval = partial(_dataset, span=15, key=("ref_date", "count_interval"))

_SAME_PEOPLE = "A person who sends texts and images is in both rows: msg_user does not add up."
_NARROW_SPAN = (
    "WeChat's pages disagree about the span (older ones: 30 days); this is what all of them allow."
)
_PERIOD = "Only the period's first day is asked, once the period is over."

UPSTREAM_MSG = _by_type(
    name="upstream_msg",
    span=7,
    grain=Grain.DAY,
    settle=3,
    columns=(_DAY, *_BY_TYPE),
    description="messages people sent, a row a day and type",
    notes=(_SAME_PEOPLE,),
    example="""\
-- What do people send, and how many messages does a sender send on a day?
SELECT appid, msg_type,
       sum(msg_count) AS messages,
       sum(msg_count) / nullif(sum(msg_user), 0) AS messages_per_sender_and_day
FROM read_parquet('output/upstream_msg/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, msg_type
ORDER BY appid, messages DESC;""",
)

UPSTREAM_MSG_HOUR = _by_type(
    name="upstream_msg_hour",
    grain=Grain.HOUR,
    key=("ref_date", "ref_hour", "msg_type"),
    columns=(_DAY, _HOUR, *_BY_TYPE),
    description="messages people sent, a row an hour and type",
    notes=(_SAME_PEOPLE, "A person who writes in two hours of a day is in both rows too."),
    example="""\
-- At which hours do messages arrive?
SELECT ref_hour,
       sum(msg_count) AS messages,
       100.0 * sum(msg_count) / nullif(sum(sum(msg_count)) OVER (), 0) AS percent
FROM read_parquet('output/upstream_msg_hour/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY ref_hour
ORDER BY ref_hour;""",
)

UPSTREAM_MSG_WEEK = _by_type(
    name="upstream_msg_week",
    grain=Grain.WEEK,
    columns=(_WEEK, *_BY_TYPE),
    description="messages people sent, a row a week and type",
    notes=(_PERIOD, _NARROW_SPAN, _SAME_PEOPLE),
    example="""\
-- How did the messages of a week change against the week before?
SELECT appid, ref_date AS monday,
       sum(msg_count) AS messages,
       messages - lag(messages) OVER (PARTITION BY appid ORDER BY ref_date) AS change
FROM read_parquet('output/upstream_msg_week/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, ref_date
ORDER BY appid, ref_date;""",
)

UPSTREAM_MSG_MONTH = _by_type(
    name="upstream_msg_month",
    grain=Grain.MONTH,
    columns=(_MONTH, *_BY_TYPE),
    description="messages people sent, a row a month and type",
    notes=(_PERIOD, _NARROW_SPAN, _SAME_PEOPLE),
    example="""\
-- How many people wrote texts in each month, and how many did each write?
SELECT appid, ref_month,
       msg_user AS people,
       msg_count / nullif(msg_user, 0) AS texts_per_person
FROM read_parquet('output/upstream_msg_month/ref_month=*/*.parquet', hive_partitioning = true)
WHERE msg_type = 1
ORDER BY appid, ref_month;""",
)

UPSTREAM_MSG_DIST = _by_interval(
    name="upstream_msg_dist",
    grain=Grain.DAY,
    settle=3,
    columns=(_DAY, *_BY_INTERVAL),
    description="people by how many messages they sent, a row a day and range",
    example="""\
-- Which part of those who write on a day write more than ten messages?
SELECT appid, ref_date,
       coalesce(sum(msg_user) FILTER (WHERE count_interval = 3), 0) AS many,
       sum(msg_user) AS writers,
       100.0 * many / nullif(writers, 0) AS percent
FROM read_parquet('output/upstream_msg_dist/ref_month=*/*.parquet', hive_partitioning = true)
WHERE count_interval > 0
GROUP BY appid, ref_date
ORDER BY appid, ref_date;""",
)

UPSTREAM_MSG_DIST_WEEK = _by_interval(
    name="upstream_msg_dist_week",
    grain=Grain.WEEK,
    columns=(_WEEK, *_BY_INTERVAL),
    description="people by how many messages they sent, a row a week and range",
    notes=(_PERIOD, _NARROW_SPAN),
    example="""\
-- How many people wrote in each week?
SELECT appid, ref_date AS monday, sum(msg_user) AS writers
FROM read_parquet('output/upstream_msg_dist_week/ref_month=*/*.parquet', hive_partitioning = true)
WHERE count_interval > 0
GROUP BY appid, ref_date
ORDER BY appid, ref_date;""",
)

UPSTREAM_MSG_DIST_MONTH = _by_interval(
    name="upstream_msg_dist_month",
    grain=Grain.MONTH,
    columns=(_MONTH, *_BY_INTERVAL),
    description="people by how many messages they sent, a row a month and range",
    notes=(_PERIOD, _NARROW_SPAN),
    example="""\
-- How many people wrote 1 to 5, 6 to 10 and more than 10 messages in each month?
SELECT appid, ref_month,
       coalesce(sum(msg_user) FILTER (WHERE count_interval = 1), 0) AS few,
       coalesce(sum(msg_user) FILTER (WHERE count_interval = 2), 0) AS some,
       coalesce(sum(msg_user) FILTER (WHERE count_interval = 3), 0) AS many
FROM read_parquet('output/upstream_msg_dist_month/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, ref_month
ORDER BY appid, ref_month;""",
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
