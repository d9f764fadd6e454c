"""The law of the merge: the record of a run does not depend on who tells its facts.

Counts add. An end of asking and a coverage replace the one before; a plan does too, but the plan of
a process in the place of a dead one is ignored. The order of lists is that of the shards.
"""

from __future__ import annotations

import pickle
from copy import deepcopy
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.core.errors import LeaseLost
from harvester.runs import facts
from harvester.runs.record.record import Record
from harvester.runs.stream import Stream
from tests.support.run_histories import (
    RunHistory,
    histories,
    said_by,
    tellings,
    told_alone,
    told_by,
    told_by_shards,
)


def check_law(history: RunHistory, data: st.DataObject) -> None:
    """Compare the record of one process with that of any shards, of which any may die."""
    alone, telling = told_alone(history).record, data.draw(tellings(history))
    whole = told_by_shards(history, telling).record
    assert said_by(whole) == said_by(alone)
    deaths = [int(number in telling.deaths) for number in range(len(telling.shards))]
    assert [each.deaths for each in whole.shards] == deaths
    assert sum(each.requests for each in whole.shards) == alone.requests
    assert sum(each.rows for each in whole.shards) == alone.rows


@settings(max_examples=100)
@given(histories(), st.data())
def test_the_record_does_not_depend_on_who_tells_it(
    history: RunHistory, data: st.DataObject
) -> None:
    """Any cut of the accounts into shards, any order of their facts, and any death will do."""
    check_law(history, data)


@pytest.mark.slow
@settings(max_examples=10_000)
@given(histories(), st.data())
def test_ten_thousand_histories(history: RunHistory, data: st.DataObject) -> None:
    """The same law."""
    check_law(history, data)


def records_of(history: RunHistory) -> list[Record]:
    """Return a record of each account of a history, as of a shard of its own."""
    streams = [told_alone(RunHistory([each], history.offset)) for each in history.accounts]
    return [stream.own for stream in streams]


@settings(max_examples=100)
@given(histories())
def test_merging_in_steps_is_merging_at_once(history: RunHistory) -> None:
    """Whatever is merged first; a record alone stays as it is."""
    first, *others = records_of(history)
    whole = Record.merge([first, *others])
    for at in range(len(others) + 1):
        parts = [Record.merge(part) for part in ([first, *others[:at]], others[at:]) if part]
        assert Record.merge(parts) == whole
    assert Record.merge([whole]) == whole


@settings(max_examples=50)
@given(histories())
def test_a_merge_shares_nothing_with_its_parts(history: RunHistory) -> None:
    """Later facts of the parts do not change it, and its own ones do not change the parts."""
    later, parts = told_by(history.accounts, history.offset), records_of(history)
    whole, unchanged = Record.merge(parts), deepcopy(parts)
    assert parts == records_of(history)
    for fact in later:
        whole.take(fact)
    assert parts == unchanged
    whole, unchanged = Record.merge(parts), [deepcopy(Record.merge(parts))]
    for part in parts:
        for fact in later:
            part.take(fact)
    assert [whole] == unchanged


@settings(max_examples=100)
@given(histories(), st.integers(0, 50))
def test_a_snapshot_stays_as_it_was_taken(history: RunHistory, at: int) -> None:
    """Later facts of the run, or of its shards, do not change it."""
    told = told_by(history.accounts, history.offset)
    for shard in (None, "1/2"):
        stream = Stream(Record(run_id="run"), lambda: 0.0)
        if shard is not None:
            stream.begin_process(shard, facts.Planned())
        for fact in told[:at]:
            stream.report(fact, shard)
        snapshot = stream.snapshot()
        kept = deepcopy(snapshot)
        assert snapshot == stream.record
        for fact in told[at:]:
            stream.report(fact, shard)
        assert snapshot == kept


@settings(max_examples=50)
@given(histories())
def test_facts_cross_processes_as_they_are(history: RunHistory) -> None:
    """Each of them can be pickled, is equal to what arrives, and cannot be changed."""
    told = [*told_by(history.accounts, history.offset), facts.Died()]
    assert pickle.loads(pickle.dumps(told)) == told
    for fact in told:
        for name in fact.__match_args__:
            with pytest.raises(AttributeError):
                setattr(fact, name, None)


def test_an_end_arrives_with_its_error() -> None:
    """Errors are equal to themselves alone, so their members are compared."""
    ended = facts.Ended(5.0, LeaseLost("the lease is gone", "run again"), bug=True)
    arrived = pickle.loads(pickle.dumps(ended))
    assert (arrived.at, arrived.bug, type(arrived.error)) == (5.0, True, LeaseLost)
    assert (arrived.error.problem, arrived.error.advice) == ("the lease is gone", "run again")


def test_histories_have_facts_of_every_kind() -> None:
    """The law would say nothing about the others."""
    seen: set[type] = {facts.Died}

    @settings(max_examples=100, database=None, derandomize=True)
    @given(histories())
    def look(history: RunHistory) -> None:
        seen.update(map(type, told_by(history.accounts, history.offset)))

    look()
    assert seen == set(get_args(facts.Fact))
