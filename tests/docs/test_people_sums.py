"""No query of the docs, the examples and the catalogue adds up people."""

from __future__ import annotations

import json
import re

import duckdb
import pytest

from harvester.catalogue import CATALOGUE
from harvester.catalogue.descriptions import members
from harvester.storage.derived.derived_files import SCHEMAS
from harvester.verbs.sql.definitions import Views
from harvester.verbs.sql.dialects import dialect_of
from tests.support.doc_pages import PAGES, ROOT, blocks
from tests.support.people_sums import (
    EVENTS,
    PEOPLE,
    is_people,
    people_sums,
    people_sums_in_python,
)

SQL = ROOT / "harvester" / "verbs" / "sql"
READ_PAGES = [*PAGES, *sorted(ROOT.glob("examples/**/*.md"))]

# Queries that stood in the docs, and others with the same mistake.
WRONG = duckdb.extract_statements("""
select appid, s.scene_desc as scene, sum(s.user_count) as readers from
(select appid, unnest(read_user_source) as s from read_parquet('output/article_read/*/*.parquet'))
group by appid, scene;

select appid, sum(msg_count) / nullif(sum(msg_user), 0)
from read_parquet('output/upstream_msg/*/*.parquet') group by appid;

create or replace view v as select appid, sum(read_user) as n from biz_summary group by all;

create view v(a, b) as with x as (select ref_date, share_user as n from biz_summary)
select sum(n) over (order by ref_date), 1 from x;

select appid, sum(msg_user) from upstream_msg_dist where count_interval > 0 group by appid;
select appid, ref_month, sum(msg_user) from upstream_msg_dist group by appid, ref_month;
select ref_date, sum(msg_user) from upstream_msg group by ref_date;
select account_client, sum(cumulate_user) from followers_daily group by account_client;
select list_sum(list(like_user)) from biz_summary;
select sum("阅读人数") from wechat."阅读日报";
select max("总用户量") as n, sum("总用户量") from wechat."关注日报";
insert into t select sum(coalesce(collection_user, 0)) from biz_summary;
select 1 as k having sum(zaikan_user) > 0
""")

RIGHT = duckdb.extract_statements("""
select appid, sum(new_user) - sum(cancel_user) as net from user_summary group by appid;
select sum("新增的用户数量"), sum("净增关注人数") from wechat."关注日报";
select "数据日期", sum("总用户量") from wechat."关注日报" group by "数据日期";

select ref_date, appid, sum(msg_user) as n from read_parquet('upstream_msg_dist_week/*/*.parquet')
where count_interval > 0 group by appid, ref_date;

select appid, ref_month, sum(msg_user) from upstream_msg_dist_month group by appid, ref_month;
select sum(cumulate_user) from followers_daily where ref_date = date '2026-05-01';
select account_client, ref_date, sum(cumulate_user) from followers_daily group by all;

select appid, max(read_user), avg(share_user), count(like_user), median(msg_count / msg_user)
from t group by appid;

select sum(calls) from (select count(read_user) as calls from biz_summary);
select sum(n) from (select read_user < lag(read_user) over (order by stat_date) as n from t);
comment on column v.read_user is 'select sum of people'
""")

IN_PYTHON = [
    'hours.groupby("appid")["read_user"].sum()',
    'frame.agg(pl.col("msg_user").sum())',
    'frame.agg(F.sum("share_user"))',
    'frame.agg({"like_user": "sum"})',
    "frame.read_user.cumsum()",
    'duckdb.sql("select sum(read_user) from t")',
]


def test_a_sum_of_people_is_found() -> None:
    """Behind aliases, lists, windows and inner queries too."""
    for each in WRONG:
        assert people_sums(each.query), each.query


def test_other_sums_are_not() -> None:
    """Events, messages, ranges of one period, and the accounts on one day add up."""
    for each in RIGHT:
        assert people_sums(each.query) == [], each.query


@pytest.mark.parametrize("program", IN_PYTHON)
def test_a_sum_of_people_is_found_in_python(program: str) -> None:
    """Polars, pandas, Spark, and SQL as a text."""
    assert people_sums_in_python(program)
    for name in ("read_user", "msg_user", "share_user", "like_user"):
        program = program.replace(name, "callback_count")
    assert people_sums_in_python(program) == []


def test_the_unit_says_which_columns_count_people() -> None:
    """A column whose name or meaning is about people has the unit, and is added up or not."""
    for dataset in CATALOGUE.values():
        for _, column in members(dataset.columns):
            is_about_people = re.search(r"_user$|user_count$|\bpeople who\b", column.name) or (
                column.unit and re.match(r"people|followers", column.meaning)
            )
            assert bool(is_about_people) == (column.name in PEOPLE | EVENTS), column.name


def test_people_are_known_in_both_languages(duck: duckdb.DuckDBPyConnection) -> None:
    """A column of a report counts people in Chinese if the one in its place does in English."""
    duck.execute(Views(dialect_of("duckdb"), "wechat", "/output", []).script())
    reports = json.loads((SQL / "words.json").read_text("utf-8"))["reports"]
    known = 0
    for english, about in reports.items():
        both = [duck.table(f'wechat."{name}"').columns for name in (english, about["zh"])]
        for names in zip(*both, strict=True):
            assert is_people(names[0]) == is_people(names[1]), names
            known += is_people(names[0])
    assert known > 15


def test_no_query_adds_up_people() -> None:
    """Of the pages, the examples, and the data files with SQL."""
    found = []
    for page in READ_PAGES:
        for block in blocks(page):
            kind = block.info.partition(" ")[0]
            if kind in {"sql", "python"}:
                search = people_sums if kind == "sql" else people_sums_in_python
                found += [f"{block.name}: {name}" for name in search(block.text)]
    for folder in ("examples", "harvester", "benchmarks"):
        for file in sorted((ROOT / folder).rglob("*.sql")):
            # Parts of the views, which are searched as a whole below.
            if file.parent == SQL:
                continue
            found += [f"{file.name}: {name}" for name in people_sums(file.read_text("utf-8"))]
    for file in sorted((ROOT / "examples").rglob("*.py")):
        program = file.read_text("utf-8")
        found += [f"{file.name}: {name}" for name in people_sums_in_python(program)]
    views = Views(dialect_of("duckdb"), "wechat", "/output", [*CATALOGUE, *SCHEMAS], ["client"])
    found += [f"views: {name}" for name in people_sums(views.script())]
    assert not found, "\n".join(found)
