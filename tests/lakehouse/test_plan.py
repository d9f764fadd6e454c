"""The plan of a swap: what is replaced, whatever files and changes there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harvester.verbs.lakehouse.plan import copy_name, month_of, removed, scope_of, source_of

MONTHS = ("2026-03", "2026-04")
SOURCES = [
    *(
        f"ref_month={month}/part-000{bucket}-of-0002.parquet"
        for month in MONTHS
        for bucket in (0, 1)
    )
]
PLAIN = ["codes.parquet", "2026-03.parquet", "part-0000-of-0001.parquet"]

digests = st.sampled_from(["0123456789ab", "ffffffffffff", "00000000000a"])
copies = st.builds(copy_name, st.sampled_from(SOURCES), digests)
compacted = st.builds(
    lambda month, number: f"ref_month={month}/part-0000{number}-6ae666ee-c000.zstd.parquet",
    st.sampled_from(MONTHS),
    st.integers(0, 9),
)
tables = st.lists(copies | compacted, unique=True).map(
    lambda names: {name: month_of(name) for name in names}
)
some_sources = st.frozensets(st.sampled_from(SOURCES))


@given(st.sampled_from(SOURCES + PLAIN), st.text("0123456789abcdef", min_size=12, max_size=64))
def test_the_name_of_a_copy_names_its_source(source: str, digest: str) -> None:
    """And a name of compaction names none."""
    assert source_of(copy_name(source, digest)) == source
    assert month_of(copy_name(source, digest)) == month_of(source)


@given(compacted)
def test_a_file_of_compaction_has_no_source(name: str) -> None:
    """Nor has anything else that is not ours."""
    assert source_of(name) is None
    assert source_of(SOURCES[0]) is None


@given(tables, some_sources, some_sources)
def test_what_stays_has_no_row_of_what_changed(
    files: dict[str, str], there: frozenset[str], changed: frozenset[str]
) -> None:
    """A changed source is in no file that stays: neither as a copy nor merged with others."""
    scope = scope_of(files, there, changed)
    made = {copy_name(source, "a" * 12) for source in scope.sources & there}
    left = {*files} - {*removed(files, scope, made)}
    for name in left:
        assert source_of(name) not in changed
        assert source_of(name) is not None or files[name] not in {*map(month_of, changed)}


@given(tables, some_sources, some_sources)
def test_what_goes_with_others_comes_again(
    files: dict[str, str], there: frozenset[str], changed: frozenset[str]
) -> None:
    """A source whose rows are in a removed file is in the scope, and so is copied if it exists."""
    scope = scope_of(files, there, changed)
    for name in removed(files, scope, ()):
        source = source_of(name)
        merged = {each for each in there if month_of(each) == files[name]}
        assert (merged if source is None else {source}) <= scope.sources


@given(tables, some_sources, some_sources)
def test_what_did_not_change_stays(
    files: dict[str, str], there: frozenset[str], changed: frozenset[str]
) -> None:
    """Nothing is replaced in a month without a change, and no copy without a file of compaction."""
    scope = scope_of(files, there, changed)
    months = {*map(month_of, changed)}
    assert {*map(month_of, scope.sources)} <= months
    merged = {month for name, month in files.items() if source_of(name) is None}
    assert scope.months == merged & months
    assert all(source in changed for source in scope.sources if month_of(source) not in merged)


@given(tables, some_sources)
def test_without_a_history_all_is_replaced(files: dict[str, str], there: frozenset[str]) -> None:
    """A copy of the same bytes stays."""
    scope = scope_of(files, there, None)
    assert scope.sources >= there
    kept = {name for name in files if source_of(name) in there}
    assert removed(files, scope, kept) == sorted({*files} - kept)


def test_a_file_of_compaction_of_a_table_without_months_may_hold_everything() -> None:
    """So everything is copied again."""
    files = {"2026-03-0123456789ab.parquet": "", "part-00000-6ae666ee-c000.parquet": ""}
    there = ["2026-03.parquet", "2026-04.parquet"]
    scope = scope_of(files, there, ["2026-05.parquet"])
    assert scope.sources == {*there}
    assert removed(files, scope, ()) == sorted(files)
    assert removed(files, scope_of(files, there, []), ()) == []
