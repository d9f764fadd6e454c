"""The article family as it was until 2026: endpoints that answer 47009 now.

They stay for trees that hold their history, and for accounts that WeChat may still answer.
"""

from __future__ import annotations

from harvester.catalogue.dataset import Column, Dataset, Grain, Kind, Nesting
from harvester.days import FIRST_DAY

_SOURCE = "https://developers.weixin.qq.com/doc/service/api/wedata/news/api_{}.html"
_CHECKED = "2026-11-24"

_REF_DATE = Column("ref_date", Kind.DATE, "the Beijing day the row sums up")
_PUBLISHED = Column("ref_date", Kind.DATE, "the Beijing day the article was published")
_REF_HOUR = Column("ref_hour", Kind.HOUR, "the hour the row sums up", "0 to 23, Beijing time")
_MSGID = Column(
    "msgid", Kind.TEXT, "the article: the message's id and its place in it from 1, 2247490098_1"
)
_TITLE = Column("title", Kind.TEXT, "the article's title")
_NO_SOURCE = Column("user_source", Kind.COUNT, "always 0; undocumented", "code", promised=False)

_READ_SOURCE = Column(
    "user_source",
    Kind.COUNT,
    "where readers came from; not the channels of user_summary",
    "code",
    labels={
        0: "the account's conversation",
        1: "friends",
        2: "Moments",
        3: "Tencent Weibo",
        4: "history page",
        5: "other",
        6: "Top Stories (看一看)",
        7: "search (搜一搜)",
        99999999: "all sources together",
    },
    # In the key, and yet the rows on WeChat's own pages come without it.
    promised=False,
)
_SHARE_SCENE = Column(
    "share_scene",
    Kind.COUNT,
    "where to it was shared",
    "code",
    labels={1: "friends", 2: "Moments", 3: "Tencent Weibo", 255: "other"},
)
_SHARES = (
    Column("share_count", Kind.COUNT, "times shared", "times"),
    Column("share_user", Kind.COUNT, "people who shared", "people"),
)


def _pair(
    prefix: str,
    what: str,
    *,
    times: str = "_count",
    inner: bool = False,
    promised: bool = True,
) -> tuple[Column, Column]:
    """How many people did something, and how many times."""
    return (
        Column(f"{prefix}_user", Kind.COUNT, f"people who {what}", "people", inner, promised),
        Column(f"{prefix}{times}", Kind.COUNT, f"times they {what}", "times", inner, promised),
    )


def _metrics(*, inner: bool = False, by_source: bool = False) -> tuple[Column, ...]:
    """What most of these endpoints count. By source, WeChat leaves some of it out since 2020."""
    total = not by_source
    return (
        *_pair("int_page_read", "opened the article", inner=inner),
        *_pair("ori_page_read", 'opened "read the original"', inner=inner, promised=total),
        *_pair("share", "shared", inner=inner),
        *_pair("add_to_fav", "added to favourites", inner=inner, promised=total),
    )


_BY_PLACE = (
    *_pair("int_page_from_session_read", "opened it in the account's conversation", inner=True),
    *_pair("int_page_from_hist_msg_read", "opened it on the history page", inner=True),
    *_pair("int_page_from_feed_read", "opened it in Moments", inner=True),
    *_pair("int_page_from_friends_read", "opened what a friend had forwarded", inner=True),
    *_pair("int_page_from_other_read", "opened it elsewhere", inner=True),
    *_pair(
        "feed_share_from_session",
        "shared it to Moments from the conversation",
        times="_cnt",
        inner=True,
    ),
    *_pair("feed_share_from_feed", "shared it to Moments from Moments", times="_cnt", inner=True),
    *_pair("feed_share_from_other", "shared it to Moments elsewhere", times="_cnt", inner=True),
    *_pair(
        "int_page_from_kanyikan_read",
        "opened it in Top Stories (看一看)",
        inner=True,
        promised=False,
    ),
    *_pair(
        "int_page_from_souyisou_read", "opened it in search (搜一搜)", inner=True, promised=False
    ),
)

_ALL_SOURCES = (
    "user_source 99999999 is all sources together: leave it out before adding sources up."
)

ARTICLE_SUMMARY = Dataset(
    name="article_summary",
    path="/datacube/getarticlesummary",
    span=1,
    first_day=FIRST_DAY,
    grain=Grain.DAY,
    ready_minutes=600,
    settle=0,
    key=("ref_date", "msgid"),
    columns=(_REF_DATE, _MSGID, _NO_SOURCE, _TITLE, *_metrics()),
    family="article",
    permission=7,
    about="readers of each article, a row a day and article",
    source=_SOURCE.format("getarticlesummary"),
    checked=_CHECKED,
    sparse=True,
    retired=True,
    successors=("article_read", "article_share"),
    notes=(
        "Only articles up to seven days old.",
        "Only articles whose reads, shares and favourites of the day make at least three.",
    ),
    example="""\
-- Which articles were opened most in their first week?
SELECT appid, msgid, any_value(title) AS title, sum(int_page_read_count) AS reads
FROM read_parquet('output/article_summary/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, msgid
ORDER BY reads DESC
LIMIT 20;""",
)

ARTICLE_TOTAL = Dataset(
    name="article_total",
    path="/datacube/getarticletotal",
    span=1,
    first_day=FIRST_DAY,
    grain=Grain.DAY,
    ready_minutes=600,
    settle=7,
    key=("ref_date", "msgid", "stat_date"),
    columns=(
        _PUBLISHED,
        _MSGID,
        Column("stat_date", Kind.DATE, "the Beijing day up to which the row counts", inner=True),
        _NO_SOURCE,
        _TITLE,
        Column("url", Kind.TEXT, "the article's address; undocumented", promised=False),
        Column(
            "target_user", Kind.COUNT, "people the message was delivered to", "people", inner=True
        ),
        *_metrics(inner=True),
        *_BY_PLACE,
    ),
    family="article",
    permission=7,
    about="each article over its first 7 days, a row an article and day since it was published",
    source=_SOURCE.format("getarticletotal"),
    checked=_CHECKED,
    nesting=Nesting.ARRAY,
    inside="details",
    sparse=True,
    retired=True,
    successors=("article_total_detail",),
    notes=(
        "A row counts everything since publication: take the newest, never a sum over stat_date.",
        "Asked by the day of publication: an article's rows are in the month it was published in.",
    ),
    example="""\
-- Which part of those who got each article had opened it in the end?
SELECT appid, msgid, ref_date AS published, title,
       100.0 * int_page_read_user / nullif(target_user, 0) AS opened_percent
FROM read_parquet('output/article_total/ref_month=*/*.parquet', hive_partitioning = true)
QUALIFY row_number() OVER (PARTITION BY appid, msgid, ref_date ORDER BY stat_date DESC) = 1
ORDER BY opened_percent DESC
LIMIT 20;""",
)

USER_READ = Dataset(
    name="user_read",
    path="/datacube/getuserread",
    span=3,
    first_day=FIRST_DAY,
    grain=Grain.DAY,
    ready_minutes=600,
    settle=3,
    key=("ref_date", "user_source"),
    columns=(_REF_DATE, _READ_SOURCE, *_metrics(by_source=True)),
    family="article",
    permission=7,
    about="readers of all articles, a row a day and source",
    source=_SOURCE.format("getuserread"),
    checked=_CHECKED,
    retired=True,
    successors=("biz_summary",),
    notes=(_ALL_SOURCES,),
    example="""\
-- Where did readers come from, month by month?
SELECT appid, ref_month, user_source, sum(int_page_read_count) AS reads
FROM read_parquet('output/user_read/ref_month=*/*.parquet', hive_partitioning = true)
WHERE user_source <> 99999999
GROUP BY appid, ref_month, user_source
ORDER BY appid, ref_month, reads DESC;""",
)

USER_READ_HOUR = Dataset(
    name="user_read_hour",
    path="/datacube/getuserreadhour",
    span=1,
    first_day=FIRST_DAY,
    grain=Grain.HOUR,
    ready_minutes=600,
    settle=0,
    key=("ref_date", "ref_hour", "user_source"),
    columns=(
        _REF_DATE,
        _REF_HOUR,
        _READ_SOURCE,
        Column("total_online_time", Kind.COUNT, "always 0; undocumented", promised=False),
        *_metrics(by_source=True),
    ),
    family="article",
    permission=7,
    about="readers of all articles, a row an hour and source",
    source=_SOURCE.format("getuserreadhour"),
    checked=_CHECKED,
    retired=True,
    successors=("article_read", "biz_summary"),
    notes=(
        _ALL_SOURCES,
        "Its successors count by day: WeChat has no readers by the hour any more.",
    ),
    example="""\
-- At which hours did people read?
SELECT ref_hour, sum(int_page_read_count) AS reads
FROM read_parquet('output/user_read_hour/ref_month=*/*.parquet', hive_partitioning = true)
WHERE user_source <> 99999999
GROUP BY ref_hour
ORDER BY ref_hour;""",
)

USER_SHARE = Dataset(
    name="user_share",
    path="/datacube/getusershare",
    span=7,
    first_day=FIRST_DAY,
    grain=Grain.DAY,
    ready_minutes=600,
    settle=3,
    key=("ref_date", "share_scene"),
    columns=(_REF_DATE, _SHARE_SCENE, _NO_SOURCE, *_SHARES),
    family="article",
    permission=7,
    about="shares of all articles, a row a day and scene",
    source=_SOURCE.format("getusershare"),
    checked=_CHECKED,
    retired=True,
    successors=("article_share", "biz_summary"),
    example="""\
-- Where to were articles shared, month by month?
SELECT appid, ref_month, share_scene, sum(share_count) AS shares
FROM read_parquet('output/user_share/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY appid, ref_month, share_scene
ORDER BY appid, ref_month, shares DESC;""",
)

USER_SHARE_HOUR = Dataset(
    name="user_share_hour",
    path="/datacube/getusersharehour",
    span=1,
    first_day=FIRST_DAY,
    grain=Grain.HOUR,
    ready_minutes=600,
    settle=0,
    key=("ref_date", "ref_hour", "share_scene"),
    columns=(_REF_DATE, _REF_HOUR, _SHARE_SCENE, _NO_SOURCE, *_SHARES),
    family="article",
    permission=7,
    about="shares of all articles, a row an hour and scene",
    source=_SOURCE.format("getusersharehour"),
    checked=_CHECKED,
    retired=True,
    successors=("article_share", "biz_summary"),
    notes=("Its successors count by day: WeChat has no shares by the hour any more.",),
    example="""\
-- At which hours were articles shared?
SELECT ref_hour, sum(share_count) AS shares
FROM read_parquet('output/user_share_hour/ref_month=*/*.parquet', hive_partitioning = true)
GROUP BY ref_hour
ORDER BY ref_hour;""",
)

DATASETS = (
    ARTICLE_SUMMARY,
    ARTICLE_TOTAL,
    USER_READ,
    USER_READ_HOUR,
    USER_SHARE,
    USER_SHARE_HOUR,
)
