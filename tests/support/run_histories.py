"""Random histories of runs: what happens to each account, and who tells it in which order.

A history can be told by one process, or by shards that run at the same time, of which any may die
and be followed by a second process.
"""

from __future__ import annotations

import operator
import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any, TypeVar

from hypothesis import strategies as st

from harvester.catalogue.error_codes import rule_for
from harvester.core.calendar import Day, date_of, day_range, month_of
from harvester.core.errors import INTERNAL_ERROR
from harvester.core.model import DayRange, OddityKind, Refusal, RowlessElement, Window
from harvester.core.results import PausedAccount, PendingDays
from harvester.runs import facts
from harvester.runs.facts import Counted, CoverageRead, Fact, Planned
from harvester.runs.record.account_report import AccountSummary, DatasetSummary, DayCounts
from harvester.runs.record.attention import Attention, in_order
from harvester.runs.record.complete_days import CompleteDays
from harvester.runs.record.expectations import Expectation
from harvester.runs.record.next_requests import NextRequests
from harvester.runs.record.record import Record
from harvester.runs.stream import Stream
from harvester.scheduling.listener import AbandonedDays, Reopened, Troubled
from harvester.scheduling.standing import Standing
from harvester.storage.publication import Published, QuarantinedDay, SeenOddity
from tests.support.run_harness import appid

T = TypeVar("T")

STARTED, ENDED = 1_790_000_000.0, 1_790_000_900.0
DATASETS = ("user_summary", "article_summary")
FIRST_DAY, DAYS = 20_500, 5
_KINDS = ["complete_by", "min_share_with_rows"]
MAX_ACCOUNTS, MAX_FACTS = 4, 8


@dataclass(frozen=True)
class AccountHistory:
    """History of one account, in its order, and its state in the end.

    ``dropped`` happens by a clock that is off: then all of it is dropped but the requests.
    """

    dropped: Sequence[Fact]
    happened: Sequence[Fact]
    plan: Planned
    next_day_at: float
    standing: Standing
    asking: facts.AskingEnded
    coverage: CoverageRead


@dataclass(frozen=True)
class RunHistory:
    """A run of some accounts. Its clock is off by ``offset`` seconds until it is corrected."""

    accounts: Sequence[AccountHistory]
    offset: float


@dataclass(frozen=True)
class Telling:
    """Tellers of a history: ``shards`` of its accounts, in an order that ``seed`` chooses.

    The first process of a shard in ``deaths`` dies, after so many of its facts.
    """

    shards: Sequence[Sequence[AccountHistory]]
    deaths: Mapping[int, int]
    seed: int


def told_by(accounts: Sequence[AccountHistory], offset: float, seed: int = 0) -> list[Fact]:
    """Return what one process tells of its accounts, whose facts ``seed`` mixes."""
    chance = random.Random(seed)
    by_wrong_clock: list[Fact] = []
    if offset:
        by_wrong_clock = [
            facts.Begun({"team": "data"}, next_day_at=0.0),
            _first_plan_of(accounts, offset),
            *_mixed([each.dropped for each in accounts], chance),
            *_correction(offset),
        ]
    return [
        *by_wrong_clock,
        _begun_of(accounts),
        _plan_of(accounts),
        *_mixed([each.happened for each in accounts], chance),
        Counted(standing=_standing_of(accounts)),
        _asking_of(accounts),
        _coverage_of(accounts),
        facts.AttentionFound(in_order(map(_item_of, accounts))),
        facts.Ended(ENDED),
    ]


def _item_of(account: AccountHistory) -> Attention:
    days = account.plan.account_days
    key, datasets = f"refused/{days % 3}", (f"of {days}",)
    return Attention(key, "refused", "advice", datasets=datasets, since="2026")


def told_alone(history: RunHistory) -> Stream:
    """Return the stream of a run in one process."""
    stream = _begun()
    for fact in told_by(history.accounts, history.offset):
        stream.report(fact)
    return stream


def told_by_shards(history: RunHistory, telling: Telling) -> Stream:
    """Return the stream of a run in several processes."""
    stream, chance = _begun(), random.Random(telling.seed)
    plans = [_first_plan_of(shard, history.offset) for shard in telling.shards]
    stream.report(_begun_of(history.accounts))
    stream.report(facts.Planned())
    # The run itself tells only that its clock was corrected.
    told: list[list[tuple[int | None, Fact]]]
    told = [[(None, fact) for fact in _correction(history.offset)]]
    for number, shard in enumerate(telling.shards):
        stream.begin_process(str(number), plans[number])
        said = told_by(shard, history.offset, telling.seed)
        if number in telling.deaths:
            said = _with_a_death(said, telling.deaths[number])
        told.append([(number, fact) for fact in said])
    for teller, fact in _mixed(told, chance):
        stream.report(fact, None if teller is None else str(teller))
        if teller is not None and isinstance(fact, facts.Died):
            stream.begin_process(str(teller), plans[teller])
    stream.report(facts.Ended(ENDED))
    return stream


def said_by(record: Record) -> dict[str, Any]:
    """Return what a record says, without what depends on who told it.

    ``shards`` and ``deaths`` are about the processes. Lists have their items in the order of the
    shards, so they are sorted, and of the accounts with pending days the first three are named.
    """
    found: dict[str, Any] = {
        member.name: getattr(record, member.name)
        for member in fields(record)
        if member.name not in {"shards", "deaths"}
    }
    found["pending"] = [each._replace(first=()) for each in record.pending]
    for name, value in found.items():
        if isinstance(value, list | tuple) and name not in {"bound", "standing"}:
            found[name] = sorted(value, key=repr)
    derived = ("rows", "missing", "exit_code", "retry_at", "next_ready_at", "accounts_failed")
    found.update({name: getattr(record, name) for name in derived})
    return {**found, "reasons": record.reasons()}


def _begun() -> Stream:
    record = Record(run_id="run", manifest="jobs.yaml", started_at=STARTED, ended_at=STARTED)
    return Stream(record, lambda: ENDED)


def _correction(offset: float) -> list[Fact]:
    return [facts.ClockCorrected(offset, "run by the right clock")] if offset else []


def _with_a_death(said: list[Fact], after: int) -> list[Fact]:
    """Return the facts of a shard whose first process dies once it has told some of them.

    Never before the clock is corrected: a process that dies by a wrong clock does not know that
    nothing of its work is kept.
    """
    corrected = [at for at, fact in enumerate(said) if isinstance(fact, facts.ClockCorrected)]
    earliest = corrected[-1] + 1 if corrected else 0
    cut = earliest + after % (len(said) - earliest)
    former, rest = said[:cut], said[cut:]
    return [*former, facts.Died(), *_again(former), *rest]


def _again(former: Sequence[Fact]) -> Iterator[Fact]:
    """Yield what a second process tells again. Its plan is smaller, and does not count."""
    yield from (fact for fact in former if isinstance(fact, facts.ClockCorrected))
    since = [at for at, fact in enumerate(former) if isinstance(fact, facts.ClockCorrected)]
    former = former[since[-1] + 1 :] if since else former
    for fact in former:
        if isinstance(fact, facts.Begun):
            yield fact
        if isinstance(fact, Planned):
            yield fact._replace(windows=fact.windows // 2, account_days=0)
    yield from _given_up(former)
    for fact in former:
        if isinstance(fact, facts.AskingEnded | CoverageRead):
            yield fact
        if isinstance(fact, Counted) and fact.standing:
            yield Counted(standing=fact.standing)


def _given_up(told: Iterable[Fact]) -> list[AbandonedDays]:
    """Return the days that are given up after these facts."""
    found: list[AbandonedDays] = []
    for fact in told:
        if isinstance(fact, AbandonedDays):
            found.append(fact)
        elif isinstance(fact, Reopened):
            found = [days for days in found if days not in fact.days]
    return found


def _mixed(streams: Iterable[Sequence[T]], chance: random.Random) -> Iterator[T]:
    """Yield the items of all streams, those of each in its order."""
    queues = [deque(stream) for stream in streams if stream]
    while queues:
        queue = chance.choice(queues)
        yield queue.popleft()
        if not queue:
            queues.remove(queue)


# What a process tells of several accounts.


def _plan_of(accounts: Sequence[AccountHistory]) -> Planned:
    plans = [each.plan for each in accounts]
    return Planned(
        sum(plan.windows for plan in plans),
        sum(plan.account_days for plan in plans),
        max(plan.bound for plan in plans),
        wanted_accounts=len(plans),
        paused=tuple(account for plan in plans for account in plan.paused),
    )


def _begun_of(accounts: Sequence[AccountHistory]) -> facts.Begun:
    return facts.Begun({"team": "data"}, next_day_at=min(each.next_day_at for each in accounts))


def _first_plan_of(accounts: Sequence[AccountHistory], offset: float) -> Planned:
    """Return the plan that is made first: one for other days, if the clock is off."""
    plan = _plan_of(accounts)
    return plan._replace(windows=1_000, bound=(1e6, "rate")) if offset else plan


def _standing_of(accounts: Sequence[AccountHistory]) -> Standing:
    done, waiting, refused, left, seconds = zip(*(each.standing for each in accounts), strict=True)
    return Standing(sum(done), sum(waiting), sum(refused), sum(left), max(seconds))


def _asking_of(accounts: Sequence[AccountHistory]) -> facts.AskingEnded:
    ends = [each.asking for each in accounts]
    pending = []
    for name in DATASETS:
        owed = [days for end in ends for days in end.pending if days.dataset == name]
        if owed:
            _, counts, days, begins, ends_of_days, first = zip(*owed, strict=True)
            names = tuple(each for names in first for each in names)[:3]
            bounds = min(begins), max(ends_of_days)
            pending.append(PendingDays(name, sum(counts), sum(days), *bounds, names))
    return facts.AskingEnded(
        max(end.asked_at or 0.0 for end in ends),
        tuple(pending),
        any(end.out_of_time for end in ends),
        any(end.out_of_lease for end in ends),
    )


def _coverage_of(accounts: Sequence[AccountHistory]) -> CoverageRead:
    read = [each.coverage for each in accounts]
    datasets, rows = [], []
    for name in DATASETS:
        of_dataset = [row for each in read for row in each.datasets if row.dataset == name]
        totals = [row.days for row in of_dataset]
        if totals:
            days = DayCounts(*map(sum, zip(*totals, strict=True)))
            complete = reduce(operator.add, (row.complete_days for row in of_dataset))
            datasets.append(DatasetSummary(name, len(totals), days, complete))
        rows += [row for each in read for row in each.accounts if row.dataset == name]
    return CoverageRead(
        tuple(datasets),
        tuple(rows),
        tuple(day for each in read for day in each.quarantined),
        tuple(days for each in read for days in each.suspicious),
        NextRequests(
            sum(each.next_requests.missing for each in read),
            sum(each.next_requests.quarantined for each in read),
            sum(each.next_requests.odd_days for each in read),
            sum(each.next_requests.odd_accounts for each in read),
        ),
        expectations=tuple(_expected([item for each in read for item in each.expectations])),
    )


def _expected(found: Sequence[Expectation]) -> Iterator[Expectation]:
    """Yield what is expected of all accounts: the accounts of the newest day of each kind count."""
    for name, kind in dict.fromkeys((each.dataset, each.kind) for each in found):
        alike = [each for each in found if (each.dataset, each.kind) == (name, kind)]
        newest = [each for each in alike if each.day == max(each.day for each in alike)]
        yield newest[0]._replace(
            accounts=sum(each.accounts for each in newest),
            there=sum(each.there for each in newest),
            lacking=tuple(sorted(appid for each in newest for appid in each.lacking)),
        )


# Random choices.

_RULES = [rule_for(code) for code in (48001, 40001, -1, 45009, 45011, 61503)]
_WORDS = ["", "a", "b", "c"]
_BYTES = 48


class _Choices:
    """Choices by bytes, which hypothesis draws at once: many small draws would take seconds.

    Without a byte left it is the first option that is chosen.
    """

    def __init__(self, data: bytes) -> None:
        self._data = iter(data)

    def number(self, most: int = 9) -> int:
        """Choose a number up to this one."""
        return next(self._data, 0) % (most + 1)

    def one(self, options: Sequence[T]) -> T:
        """Choose one of these."""
        return options[self.number(len(options) - 1)]

    def some(self, options: Iterable[T]) -> list[T]:
        """Choose any of these."""
        return [each for each in options if self.number(1)]

    def bounds(self) -> tuple[Day, Day]:
        """Choose the first and the last of some days."""
        begin = FIRST_DAY + self.number(DAYS - 1)
        return begin, begin + self.number(FIRST_DAY + DAYS - 1 - begin)

    def window(self, whose: str) -> Window:
        """Choose a window of an account."""
        return Window(whose, self.one(DATASETS), *self.bounds())


def _counted(choose: _Choices) -> Counted:
    numbers: dict[str, Any] = {
        name: choose.number() for name, zero in Counted()._asdict().items() if zero == 0
    }
    return Counted(
        **numbers,
        waits={action: float(choose.number()) for action in choose.some(["retry", "slow_down"])},
        shortened_spans={name: choose.number() for name in choose.some(DATASETS)},
    )


def _abandoned(choose: _Choices, whose: str) -> AbandonedDays:
    count, rule, word = choose.number(), choose.one(_RULES), choose.one(_WORDS)
    refusal = Refusal(choose.number(), word, "rid")
    why = refusal if choose.number(1) else word
    return AbandonedDays(*choose.window(whose), count, rule, why)


def _published(choose: _Choices, whose: str) -> Published:
    """Choose a file of one account, so that a cut into shards leaves it whole."""
    window = choose.window(whose)
    days = range(window.begin, window.end + 1)
    reasons = choose.some([f"{INTERNAL_ERROR}: TypeError", "ref_date is no day"])
    # Of a kind and name the first one is kept, so each account has names of its own.
    name = f"{whose} {choose.one(_WORDS)}"
    oddity = SeenOddity(OddityKind.UNKNOWN_MARK, name, choose.one(_WORDS), window)
    return Published(
        window.dataset,
        month_of(window.begin),
        f"{window.dataset}/{whose}.parquet",
        choose.number(),
        choose.number(),
        days=day_range(window.begin, window.end),
        appids={whose},
        corrected={(whose, day) for day in choose.some(days)},
        quarantined=[
            QuarantinedDay(*window[:2], date_of(window.begin), reason) for reason in reasons
        ],
        unknown={*choose.some("xyz")},
        missing={*choose.some("xyz")},
        delayed={*choose.some([choose.window(whose)])},
        damaged=choose.some(["group"]),
        oddities={oddity[:2]: oddity for _ in choose.some([1])},
        without_rows={
            RowlessElement(*window[:2], day, choose.one(_WORDS)) for day in choose.some(days)
        },
    )


def _happened(draws: Iterable[bytes], whose: str) -> list[Fact]:
    """Return a fact for each draw."""
    found: list[Fact] = []
    for choose in map(_Choices, draws):
        match choose.number(5):
            case 0:
                found.append(_counted(choose))
            case 1:
                found.append(_abandoned(choose, whose))
            case 2:
                found.append(Reopened(tuple(choose.some(_given_up(found)))))
            case 3:
                found.append(Troubled(choose.one(_RULES), choose.one(_WORDS), whose))
            case 4:
                found.append(facts.GroupsDamaged(tuple(choose.some(_WORDS))))
            case _:
                found.append(_published(choose, whose))
    return found


def _coverage(choose: _Choices, whose: str) -> CoverageRead:
    names = choose.some(DATASETS)
    days = DayCounts(*(choose.number() for _ in DayCounts._fields))
    wanted = choose.number()
    complete = CompleteDays.of([(wanted, wanted & choose.number())])
    reasons = tuple(choose.some(["refused", "failed", "quarantined"]))
    bounds = choose.bounds()
    return CoverageRead(
        tuple(DatasetSummary(name, 1, days, complete) for name in names),
        tuple(
            AccountSummary(whose, name, days, choose.number(), choose.number(), reasons=reasons)
            for name in choose.some(names)
        ),
        tuple(choose.some([QuarantinedDay(whose, DATASETS[0], date_of(FIRST_DAY), "odd")])),
        tuple(choose.some([DayRange(whose, DATASETS[0], *map(date_of, bounds))])),
        NextRequests(choose.number(), choose.number(), choose.number(), choose.number()),
        expectations=tuple(_expectation(choose, whose, kind) for kind in choose.some(_KINDS)),
    )


def _expectation(choose: _Choices, whose: str, kind: str) -> Expectation:
    there = choose.number(1)
    lacking = () if there else (whose,)
    day = date_of(FIRST_DAY + choose.number(1))
    return Expectation(DATASETS[0], kind, day, 0.5, 1, there, "open", lacking)


def _account_history(
    whose: str, dropped: list[bytes], happened: list[bytes], state: bytes
) -> AccountHistory:
    choose = _Choices(state)
    paused = choose.some([PausedAccount(f"{whose}p", "", "merger")])
    bound = 1.0 + choose.number(), choose.one(["rate", "cpu"])
    pending = [
        PendingDays(name, 1, choose.number(), *choose.bounds(), (whose,))
        for name in choose.some(DATASETS)
    ]
    flags = choose.one([False, True]), choose.one([False, True])
    return AccountHistory(
        dropped=[_counted(_Choices(data)) for data in dropped],
        happened=_happened(happened, whose),
        plan=Planned(choose.number(), choose.number(), bound, 1, tuple(paused)),
        next_day_at=ENDED + choose.number(),
        standing=Standing(*(choose.number() for _ in Standing._fields)),
        asking=facts.AskingEnded(STARTED + choose.number(), tuple(pending), *flags),
        coverage=_coverage(choose, whose),
    )


_draw = st.binary(min_size=_BYTES, max_size=_BYTES)


@st.composite
def histories(draw: st.DrawFn) -> RunHistory:
    """Draw a run."""
    accounts = [
        _account_history(
            appid(number),
            draw(st.lists(_draw, max_size=2)),
            draw(st.lists(_draw, max_size=MAX_FACTS)),
            draw(_draw),
        )
        for number in range(1, draw(st.integers(1, MAX_ACCOUNTS)) + 1)
    ]
    return RunHistory(accounts, draw(st.sampled_from([0.0, -86_400.0])))


@st.composite
def tellings(draw: st.DrawFn, history: RunHistory) -> Telling:
    """Draw who tells a run: any cut of its accounts into shards, and any deaths."""
    shards: dict[int, list[AccountHistory]] = {}
    for account in history.accounts:
        shards.setdefault(draw(st.integers(0, 2)), []).append(account)
    numbers = st.integers(0, len(shards) - 1)
    deaths = draw(st.dictionaries(numbers, st.integers(0, 50), max_size=2))
    return Telling([*shards.values()], deaths, draw(st.integers(0, 2**32)))
