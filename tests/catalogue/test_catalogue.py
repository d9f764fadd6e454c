"""The catalogue against what WeChat documents, and what patterns mean."""

from __future__ import annotations

import datetime as dt

import pytest

from harvester.catalogue import CATALOGUE, RETIRED, matching, unknown_dataset
from harvester.catalogue.descriptions import members
from harvester.core.calendar import FIRST_DAY, day_of
from harvester.core.dataset import Column, Dataset, Grain, Kind, Nesting, api_of

FAMILY_FOLDERS = {"user": "user", "article": "news", "message": "mess", "interface": "api"}
PERMISSIONS = {"user": 2, "article": 7, "message": 1, "interface": 3}

# Most days one request may ask; days until an answer is final.
CLOCKS = {
    "user_summary": (7, 3),
    "user_cumulate": (7, 3),
    "article_read": (1, 0),
    "article_share": (1, 0),
    "biz_summary": (30, 7),
    "article_total_detail": (1, 30),
    "upstream_msg": (7, 3),
    "upstream_msg_hour": (1, 0),
    "upstream_msg_week": (1, 0),
    "upstream_msg_month": (1, 0),
    "upstream_msg_dist": (15, 3),
    "upstream_msg_dist_week": (15, 0),
    "upstream_msg_dist_month": (15, 0),
    "interface_summary": (30, 3),
    "interface_summary_hour": (1, 0),
}

NESTED = {
    "article_read": (Nesting.OBJECT, "detail"),
    "article_share": (Nesting.OBJECT, "detail"),
    "biz_summary": (Nesting.OBJECT, "detail"),
    "article_total_detail": (Nesting.ARRAY, "detail_list"),
}

SUCCESSORS = {
    "article_summary": ("article_read", "article_share"),
    "article_total": ("article_total_detail",),
    "user_read": ("biz_summary",),
    "user_read_hour": ("article_read", "biz_summary"),
    "user_share": ("article_share", "biz_summary"),
    "user_share_hour": ("article_share", "biz_summary"),
}

each_dataset = pytest.mark.parametrize("dataset", CATALOGUE.values(), ids=CATALOGUE)


def column_of(dataset: str, name: str) -> Column:
    """A column, or a member of a list as ``list[].member``."""
    return dict(members(CATALOGUE[dataset].columns))[name]


def names(found: tuple[Dataset, ...]) -> list[str]:
    """Return the names that matched, for comparison."""
    return [dataset.name for dataset in found]


def test_all_of_the_datacube_is_known() -> None:
    """The 15 datasets that WeChat answers are there."""
    assert [(d.name, (d.span, d.settle)) for d in CATALOGUE.values()] == list(CLOCKS.items())


@each_dataset
def test_a_dataset_says_where_it_comes_from(dataset: Dataset) -> None:
    """Names are WeChat's in snake case, and every fact has a page and the day it was read."""
    assert dataset.path == f"/datacube/{dataset.api}"
    assert dataset.api == "get" + dataset.name.replace("_", "")
    folder = FAMILY_FOLDERS[dataset.family]
    page = (
        f"https://developers.weixin.qq.com/doc/service/api/wedata/{folder}/api_{dataset.api}.html"
    )
    assert dataset.source == page
    assert dt.date.fromisoformat(dataset.checked) >= dt.date(2026, 11, 24)
    assert dataset.permission == PERMISSIONS[dataset.family]
    assert dataset.description
    assert not dataset.description.endswith(".")
    assert all(note.endswith(".") for note in dataset.notes)


@each_dataset
def test_a_dataset_has_a_clock(dataset: Dataset) -> None:
    """Everything is ready at 10:00; articles are measured anew since 2025-11-01."""
    anew = dataset.family == "article"
    assert dataset.first_day == (day_of(dt.date(2025, 11, 1)) if anew else FIRST_DAY)
    assert dataset.may_be_delayed == anew
    assert dataset.ready_minutes == 10 * 60
    grains = {"hour": Grain.HOUR, "week": Grain.WEEK, "month": Grain.MONTH}
    assert dataset.grain is grains.get(dataset.name.rpartition("_")[2], Grain.DAY)


@each_dataset
def test_a_key_names_the_first_columns(dataset: Dataset) -> None:
    """Files begin with what their rows are sorted by: the day, then what every row has."""
    assert dataset.key[0] == "ref_date"
    keys = dataset.columns[: len(dataset.key)]
    assert tuple(column.name for column in keys) == dataset.key
    assert all(column.kind is not Kind.LIST for column in keys)
    assert all(column.required for column in keys)
    assert ("ref_hour" in dataset.key) == (dataset.grain is Grain.HOUR)
    assert ("stat_date" in dataset.key) == (dataset.nesting is Nesting.ARRAY)


@each_dataset
def test_a_column_is_whole(dataset: Dataset) -> None:
    """Each column is there once, in words, and typed as its codes and members are."""
    columns = [column.name for column in dataset.columns]
    assert len(set(columns)) == len(columns)
    assert not {name for name in columns if name.startswith("_")} | {"appid", "ref_month"} & {
        *columns
    }
    for name, column in members(dataset.columns):
        assert column.meaning, name
        assert bool(column.fields) == (column.kind is Kind.LIST)
        assert {type(code) for code in column.labels} <= {str if column.kind is Kind.TEXT else int}
        if name.endswith(("_user", "_count", "_cnt")):
            assert column.kind is Kind.COUNT
            assert column.unit


@each_dataset
def test_the_shape_of_an_answer(dataset: Dataset) -> None:
    """Only the named datasets nest, and theirs are the only columns that stand inside."""
    nesting, inside = NESTED.get(dataset.name, (Nesting.FLAT, ""))
    assert (dataset.nesting, dataset.nested_field) == (nesting, inside)
    assert any(column.nested for column in dataset.columns) == (nesting is not Nesting.FLAT)
    assert not dataset.columns[0].nested


def test_undocumented_members_are_optional() -> None:
    """Members that only live answers have get an optional column."""
    missing = {
        (dataset.name, column.name)
        for dataset in CATALOGUE.values()
        for column in dataset.columns
        if not column.required
    }
    sources = {"user_cumulate", *(name for name in CATALOGUE if name.startswith("upstream_msg"))}
    assert missing == {(name, "user_source") for name in sources} | {
        ("article_total_detail", "title"),
        ("article_total_detail", "content_url"),
    }


@pytest.mark.parametrize(
    ("dataset", "name", "codes"),
    [
        ("upstream_msg", "msg_type", [1, 2, 3, 4, 6]),
        ("upstream_msg_dist_week", "count_interval", [0, 1, 2, 3]),
        ("article_total_detail", "publish_type", [0, 1]),
        ("article_total_detail", "read_jump_position[].position", [1, 2, 3, 4, 5]),
        (
            "article_read",
            "read_user_source[].scene_desc",
            ["全部", "公众号消息", "聊天会话", "朋友圈", "公众号主页", "其他", "推荐", "搜一搜"],
        ),
    ],
)
def test_codes_have_labels(dataset: str, name: str, codes: list[int] | list[str]) -> None:
    """The known codes of open enums are there to look up."""
    assert list(column_of(dataset, name).labels) == codes


each_retired = pytest.mark.parametrize("retired", RETIRED)


def test_retired_datasets_name_live_ones() -> None:
    """Each of the six names what replaced it, and the catalogue has all of that."""
    assert RETIRED == SUCCESSORS
    assert all(name in CATALOGUE for successors in RETIRED.values() for name in successors)


@each_retired
def test_no_pattern_matches_a_retired_dataset(retired: str) -> None:
    """Neither a name nor a glob nor all finds a retired dataset."""
    globs = (f"{retired}*", f"*{retired}", f"[{retired[0]}]{retired[1:]}")
    for pattern in (retired, api_of(retired), "all", "*", "user_*", "article_*", "*_hour", *globs):
        assert retired not in names(matching(pattern))


@each_retired
def test_a_retired_dataset_is_told_apart(retired: str) -> None:
    """Both of its names, spelled out, are met with the errcode and every successor."""
    for name in (retired, api_of(retired)):
        problem, advice = unknown_dataset(name)
        assert problem == f"WeChat has retired `{name}`: it answers errcode 47009"
        assert advice.startswith("use ")
        assert all(f"`{successor}`" in advice for successor in RETIRED[retired])
    assert unknown_dataset(f"{retired}*")[0].startswith("unknown dataset")


@pytest.mark.parametrize(
    ("pattern", "means"),
    [
        ("interface_summary", ["interface_summary"]),
        ("getinterfacesummary", ["interface_summary"]),
        ("upstream_msg_dist_*", ["upstream_msg_dist_week", "upstream_msg_dist_month"]),
        ("article_*", ["article_read", "article_share", "article_total_detail"]),
        ("user_*", ["user_summary", "user_cumulate"]),
        ("all", list(CLOCKS)),
        ("*", list(CLOCKS)),
        ("USER_SUMMARY", []),
        ("nothing", []),
        ("", []),
    ],
)
def test_patterns(pattern: str, means: list[str]) -> None:
    """Names, WeChat's names, globs and all find datasets in the catalogue's order."""
    assert names(matching(pattern)) == means


def test_a_dataset_is_a_value() -> None:
    """Datasets are equal by what they say, and can be remembered by."""
    assert len({*CATALOGUE.values()}) == len(CATALOGUE)
