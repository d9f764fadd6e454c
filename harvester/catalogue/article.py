"""The article family: readers and shares of the articles that an account publishes.

WeChat has measured articles in a new way since 2025-11-01; the endpoints it had before are retired.
"""

import datetime as dt
from dataclasses import replace
from functools import partial

from harvester.core.calendar import day_of
from harvester.core.dataset import REF_DATE, Column, Dataset, Grain, Guide, Kind, Nesting, Refresh

_dataset = partial(
    Dataset,
    grain=Grain.DAY,
    family="article",
    permission=7,
    pages="news",
    first_day=day_of(dt.date(2025, 11, 1)),
    checked="2026-11-24",
    may_be_delayed=True,
)
_with_detail = partial(_dataset, nesting=Nesting.OBJECT, nested_field="detail")
_nested = partial(Column, nested=True)
_people = partial(_nested, kind=Kind.COUNT, unit="people")
_total = partial(replace, is_total=True)
_SHARE = "share of readers, 0 to 1"

# Most days of most accounts have no article, so that an answer without rows is no news.
_SPARSE = Refresh(empty=(1, 4, 14, 28))
# Each answer brings all days of an article so far, so that few are needed once it is a week old.
_WHOLE = Refresh(rows=(*range(1, 8), 10, 14, 21, 30), empty=_SPARSE.empty)
# WeChat's page does not say of which articles biz_summary counts the readers, so these are hints.
_hint = partial(Guide, "biz_summary", is_exact=False)

_by_article = partial(_with_detail, span=1, key=("ref_date", "msgid"), sparse=True, refresh=_SPARSE)

_PUBLISHED = Column("ref_date", Kind.DATE, "the Beijing day the article was published")
_MSGID = Column(
    "msgid", Kind.TEXT, "the article: the message's id and its place in it from 1, 2247490098_1"
)

_SCENES = {
    "全部": "all scenes together",
    "公众号消息": "message of the account",
    "聊天会话": "chat",
    "朋友圈": "Moments",
    "公众号主页": "the account's home page",
    "其他": "other",
    "推荐": "recommended",
    "搜一搜": "search",
}

_READ_USER = _people("read_user", meaning="people who read")
_READ_USER_SOURCE = _nested(
    "read_user_source",
    Kind.LIST,
    "those who read, by where they came from",
    fields=(
        Column("user_count", Kind.COUNT, "people who read", "people"),
        Column("scene_desc", Kind.TEXT, "where they came from, in Chinese", labels=_SCENES),
    ),
)
_SHARE_USER = _people("share_user", meaning="people who shared")
_REACTIONS = (
    _SHARE_USER,
    _people("zaikan_user", meaning="people who tapped the heart"),
    _people("like_user", meaning="people who tapped the thumb"),
    _nested("comment_count", Kind.COUNT, "comments", "comments"),
    _people("collection_user", meaning="people who added to favourites"),
)
_READ_JUMP_POSITION = _nested(
    "read_jump_position",
    Kind.LIST,
    "where readers left the article",
    fields=(
        Column(
            "position",
            Kind.COUNT,
            "the part of the article",
            "code",
            labels={1: "0 to 20%", 2: "20 to 40%", 3: "40 to 60%", 4: "60 to 80%", 5: "80 to 100%"},
        ),
        Column("rate", Kind.RATE, "those who left there", _SHARE, maximum=1.0),
    ),
)

_ALL_IS_THE_SUM = (
    "The scene 全部 is all readers (read_user): leave it out before adding scenes up. "
    "A person who comes in two ways is counted in both scenes."
)
_CUMULATIVE = (
    "Not settled: WeChat defines stat_date so that a row counts everything since publication, and "
    "its page can be read as daily values too. The second query decides it on your own data, since "
    "a total cannot fall: without falls take the newest row, never a sum over stat_date; with "
    "falls a row is one day, and people do not add up. A run notes falls of read_user, share_user, "
    "praise_money and read_subscribe_user; likes and favourites may be taken back."
)
_UNSEEN_RATES = (
    "That rates are shares from 0 to 1, and read_avg_activetime minutes, is from WeChat's page and "
    "its sample; no live answer was seen. A run notes a share above 1."
)
_BARE = (
    "An article whose detail_list is empty has no row, because stat_date is part of the key: the "
    "run notes it and names it in without_rows of its record."
)
_EMPTY = "A day on which no article's numbers changed has no rows."

ARTICLE_READ = _by_article(
    name="article_read",
    guide=_hint("read_user"),
    columns=(REF_DATE, _MSGID, _READ_USER, _READ_USER_SOURCE),
    description="readers of each article and where they came from, one row per day and article",
    notes=(_ALL_IS_THE_SUM, "read_user counts people once a day: days do not add up.", _EMPTY),
)

ARTICLE_SHARE = _by_article(
    name="article_share",
    guide=_hint("share_user"),
    columns=(REF_DATE, _MSGID, _SHARE_USER),
    description="people who shared each article, one row per day and article",
    notes=(_EMPTY,),
)

BIZ_SUMMARY = _with_detail(
    name="biz_summary",
    counts=("read_user", "share_user", "send_page_count"),
    span=30,
    settle=7,
    key=("ref_date",),
    columns=(
        REF_DATE,
        _READ_USER,
        _READ_USER_SOURCE,
        *_REACTIONS,
        _people("redirect_ori_page_user", meaning='people who followed "read the original"'),
        _nested("send_page_count", Kind.COUNT, "articles published", "articles"),
    ),
    description="all articles of an account together, one row per day",
    notes=(_ALL_IS_THE_SUM, "WeChat has been seen to revise the last seven days."),
)

ARTICLE_TOTAL_DETAIL = _dataset(
    name="article_total_detail",
    guide=_hint("send_page_count", spares=False),
    span=1,
    settle=30,
    key=("ref_date", "msgid", "stat_date"),
    columns=(
        _PUBLISHED,
        _MSGID,
        _nested("stat_date", Kind.DATE, "the Beijing day up to which the row counts"),
        Column(
            "publish_type",
            Kind.COUNT,
            "how the article was published",
            "code",
            labels={0: "with a notification", 1: "without a notification"},
        ),
        Column("title", Kind.TEXT, "the article's title; since 2026-03-03", required=False),
        Column("content_url", Kind.TEXT, "the article's address; since 2026-03-03", required=False),
        _total(_READ_USER),
        _READ_USER_SOURCE,
        _total(_SHARE_USER),
        *_REACTIONS[1:],
        _total(_nested("praise_money", Kind.COUNT, "tips", "fen (1/100 yuan)")),
        _total(
            _people("read_subscribe_user", meaning="people who followed the account after reading")
        ),
        _nested(
            "read_delivery_rate",
            Kind.RATE,
            "read delivery rate (阅读送达率); WeChat does not say of what",
            "share, 0 to 1",
            maximum=1.0,
        ),
        _nested("read_finish_rate", Kind.RATE, "readers who read to the end", _SHARE, maximum=1.0),
        _nested("read_avg_activetime", Kind.RATE, "average reading time", "minutes"),
        _READ_JUMP_POSITION,
    ),
    description=(
        "each article over its first 30 days, one row per article and day since it was published"
    ),
    nesting=Nesting.ARRAY,
    nested_field="detail_list",
    sparse=True,
    refresh=_WHOLE,
    notes=(
        "Asked by the day of publication: an article's rows are in the month it was published in.",
        _CUMULATIVE,
        _UNSEEN_RATES,
        _BARE,
        _ALL_IS_THE_SUM,
    ),
)

DATASETS = (ARTICLE_READ, ARTICLE_SHARE, BIZ_SUMMARY, ARTICLE_TOTAL_DETAIL)
