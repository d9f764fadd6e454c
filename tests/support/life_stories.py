"""Stories for `tests.support.lived_year`: what happens on which day of a life.

A `Scope` is plain data, so that another process can be told of it as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from harvester.core.calendar import Day, instant, parse_day
from tests.support.living_wechat import WrongDates
from tests.support.run_harness import appid
from tests.support.silent_life import Silence, SilentLife
from tests.support.wechat_life import Fill, Hole, Life, mixed

EIGHT = (
    "user_summary",
    "user_cumulate",
    "article_read",
    "biz_summary",
    "article_total_detail",
    "upstream_msg_week",
    "interface_summary",
    "interface_summary_hour",
)
"""Datasets of all spans, grains and settling times."""

_DAY = 86_400.0
_HOLIDAY = 8
_DATE_REACH = 40
"""Days before a run that a wrong date in it may make final."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The size of a life, and its story.

    ``story`` is one of ``year``, ``hole``, ``holiday``, ``calm``, ``silence`` and ``established``.
    ``hole`` has the days of the longest hole, and ``fill`` its order; with ``alone`` it is that of
    one account. With ``kills`` a run is killed between asking and publishing on each day of a hole,
    and another one follows. ``silence`` has all that tries the rule of empty days, in a life of
    `tests.support.silent_life`; ``established`` is such a life without faults, of accounts that are
    older than the wanted days. ``settling`` are the days after the last one on which a last run is
    made. ``backfill`` are the days that the first run finds missing.
    """

    accounts: int = 12
    days: int = 45
    datasets: tuple[str, ...] = EIGHT
    story: str = "year"
    hole: int = 28
    fill: str = Fill.ONCE.value
    alone: bool = False
    kills: bool = False
    shards: int = 1
    buckets: int = 1
    seed: int = 1
    begin: str = "2026-01-01"
    settling: tuple[int, ...] = (40, 41)
    backfill: int = 31

    @property
    def first(self) -> Day:
        """The day of the first run."""
        return parse_day(self.begin)

    @property
    def last(self) -> Day:
        """The day of the last daily run."""
        return self.first + self.days - 1

    @property
    def first_wanted(self) -> Day:
        """The oldest day that is wanted."""
        return self.first - self.backfill


class Trouble(NamedTuple):
    """The troubles of one run.

    Attributes:
        kill: Share of the changes of a run after which it is killed; 0 for none.
        kill_publishing: Whether it is killed before its first data file instead.
        is_down: Whether WeChat cannot be reached.
        skew: Seconds by which the machine's clock is ahead.
        dates: Headers ``Date`` of the answers.
        repeated: Whether another run without trouble follows on the same day.
        is_skipped: Whether there is no run at all.
        minute: Minute of the Beijing day on which it begins.
        budget: Seconds after which the run ends by itself.
        slow: Seconds that each call takes.
    """

    kill: float = 0.0
    kill_publishing: bool = False
    is_down: bool = False
    skew: float = 0.0
    dates: WrongDates = WrongDates()
    repeated: bool = False
    is_skipped: bool = False
    minute: int = 12 * 60
    budget: float | None = None
    slow: float = 0.0


class Event(NamedTuple):
    """Something that happens, for the table: the days that it is about, and when runs meet it."""

    what: str
    begin: Day
    end: Day
    met: range
    appid: str = ""


@dataclass
class Story:
    """A life, the troubles of its runs by day, and its events."""

    life: Life
    troubles: dict[Day, Trouble] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


def story_of(scope: Scope) -> Story:
    """Return the story of a scope. Raises ValueError if there is none."""
    appids = tuple(appid(number) for number in range(1, scope.accounts + 1))
    whole = scope.backfill + scope.days
    life = Life(appids, scope.datasets, scope.first_wanted, whole, scope.seed)
    story = Story(life)
    match scope.story:
        case "silence" | "established":
            return _silent_story(scope, appids)
        case "year":
            _fill_year(scope, story)
        case "hole":
            life.calm = True
            _add_hole(scope, story, scope.first + 20, scope.hole, Fill(scope.fill))
            if scope.kills:
                _kill_in_holes(story)
        case "holiday":
            life.calm = True
            _add_holiday(story, scope.first + 20)
        case "calm":
            life.calm = True
        case _:
            raise ValueError(scope.story)
    return story


def _fill_year(scope: Scope, story: Story) -> None:
    """Let everything happen, as far as the days reach."""
    orders = [*Fill]
    turn = orders.index(Fill(scope.fill))
    for number, (place, days) in enumerate(((20, 1), (26, 3), (75, 9), (150, 28))):
        if days <= scope.hole and place + days + 4 <= scope.days:
            order = orders[(turn + number + 1) % len(orders)] if days < 28 else orders[turn]
            _add_hole(scope, story, scope.first + place, days, order)
    for place in (45, 275):
        if place + _HOLIDAY <= scope.days:
            _add_holiday(story, scope.first + place)
    _lose_secrets(scope, story)
    for day, what, trouble in _troubles(scope):
        story.troubles[day] = trouble
        begin = day - _DATE_REACH if trouble.dates.seconds else day - 1
        story.events.append(Event(what, begin, day - 1, range(day, day + 1)))


def _add_hole(scope: Scope, story: Story, begin: Day, days: int, order: Fill) -> None:
    # A hole of 28 days is filled just in time, and shorter ones some days after their end.
    later = min(days, 28 - days, 5 if scope.alone else 9) if days > 1 else 2
    hole = Hole(
        begin,
        days,
        begin + days + later,
        order,
        hours=24 if days >= 28 else 12 + 4 * days,
        appid=story.life.appids[0] if scope.alone else "",
    )
    story.life.holes += (hole,)
    what = f"hole of {days} days, {order.value}" + (", one account" if scope.alone else "")
    met = range(hole.begin + 1, hole.filled + 31)
    story.events.append(Event(what, hole.begin, hole.end, met, hole.appid))


def _add_holiday(story: Story, begin: Day) -> None:
    story.life.holidays += (range(begin, begin + _HOLIDAY),)
    end = begin + _HOLIDAY - 1
    met = range(begin + 1, end + 31)
    story.events.append(Event(f"holiday of {_HOLIDAY} days", begin, end, met))


def _lose_secrets(scope: Scope, story: Story) -> None:
    """Let one account of thirty, and one at least, lose its secret for some weeks."""
    for number in range(0, scope.accounts, 30):
        chance = mixed(scope.seed, number, 3)
        begin = scope.first + 2 + chance % max(1, scope.days - 10)
        days = min(14 + chance % 15, scope.days // 3)
        lost = story.life.appids[number]
        story.life.lost[lost] = range(begin, begin + days)
        if number == 0:
            met = range(begin, begin + days)
            story.events.append(Event("lost secret", begin - 1, begin + days - 1, met, lost))


_DATES = (
    ("Date of all answers +5 days", WrongDates(5 * _DAY, nth=1)),
    ("Date of one of two -5 days", WrongDates(-5 * _DAY, nth=2)),
    ("Date of the first three +40 days", WrongDates(40 * _DAY, first=3)),
    ("Date of the first -400 days", WrongDates(-400 * _DAY, first=1)),
    ("Date of all answers -40 days", WrongDates(-40 * _DAY, nth=1)),
    ("Date of all answers +40 days", WrongDates(40 * _DAY, nth=1)),
)


def _troubles(scope: Scope) -> Iterator[tuple[Day, str, Trouble]]:
    """Yield the runs with troubles, in turn: one of ten."""
    first, last = scope.first + 5, scope.last
    for place, day in enumerate(range(first, last + 1, 10)):
        chance = mixed(scope.seed, day, 5)
        turn = place // 4
        match place % 4:
            case 0:
                yield day, "killed run", Trouble(kill=(1 + chance % 98) / 100)
            case 1:
                yield day, "outage", Trouble(is_down=True)
            case 2 if turn % 2:
                years = (scope.first - parse_day("1970-01-01")) * _DAY
                skew = (-2 * _DAY, 2 * _DAY, -years)[turn // 2 % 3]
                yield day, f"machine {skew / _DAY:+,.0f} days", Trouble(skew=skew)
            case 2:
                what, dates = _DATES[turn // 2 % len(_DATES)]
                yield day, what, Trouble(dates=dates)
            case _:
                yield day, "killed before publishing", Trouble(kill_publishing=True)


def _kill_in_holes(story: Story) -> None:
    for hole in story.life.holes:
        for day in range(hole.begin + 1, hole.filled + 10, 2):
            story.troubles[day] = Trouble(kill_publishing=True, repeated=day % 4 < 2)


def _silent_story(scope: Scope, appids: tuple[str, ...]) -> Story:
    days = scope.backfill + scope.days
    life = SilentLife(appids, scope.datasets, scope.first_wanted, days, scope.seed)
    life.first = scope.first
    life.until = instant(scope.last + max(scope.settling), 10 * 60)
    life.calm = scope.story == "established"
    story = Story(life)
    if not life.calm:
        life.silences = tuple(_silences(scope, life))
        life.holidays = (range(life.at(0.6), life.at(0.6) + 7),)
        life.lost = {each: range(life.at(0.3), life.at(0.35)) for each in appids[10:11]}
        story.troubles = {day: _trouble(scope, day) for day in range(scope.first, scope.last + 1)}
    return story


def _silences(scope: Scope, life: SilentLife) -> Iterator[Silence]:
    def some(share: float, days: int) -> range:
        return range(life.at(share), life.at(share) + days)

    whole = scope.datasets
    one = whole[scope.seed % len(whole)]
    yield Silence("half late by 8 days", some(0.15, 1), whole, 8, half=True)
    yield Silence("one dataset for a week", some(0.28, 7), (one,), 3, 48.0)
    yield Silence("outage of two days", some(0.45, 2), whole, 3, 96.0)


_SLOW = 10.0


def _trouble(scope: Scope, day: Day) -> Trouble:
    """Return what happens to the run of a morning, which begins at about half past ten."""
    place, chance = day - scope.first, mixed(scope.seed, day, 5)
    usual = Trouble(minute=10 * 60 + 10 + chance % 41)
    if place % 25 == 12 or place in range(98, 101):
        return usual._replace(is_skipped=True)
    if place % 30 == 17:
        return usual._replace(kill=(1 + chance % 98) / 100)
    if place % 30 == 27:
        return usual._replace(kill_publishing=True)
    if place % 20 == 9:
        # Half of the calls of the newest day, after a token for each account.
        calls = scope.accounts * len(scope.datasets) / min(100, 4 * scope.accounts)
        return usual._replace(slow=_SLOW, budget=_SLOW * (1.5 + calls / 2))
    if place % 40 == 21:
        return usual._replace(skew=(-2, 2)[place // 40 % 2] * _DAY)
    if place % 40 == 1 and place > 1:
        return usual._replace(dates=WrongDates((5, -5)[place // 40 % 2] * _DAY, nth=2))
    return usual
