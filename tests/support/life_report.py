"""Report of a life: its events and its months as plain data, folded from what its runs did."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, NamedTuple, TypeAlias

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day, day_text
from harvester.core.model import Partition
from harvester.sandbox.data import period_of
from tests.support.life_stories import Event, Scope, Story
from tests.support.living_wechat import Answered

_MAX_LISTED = 40


@dataclass(frozen=True, slots=True)
class RunReport:
    """Report of one run; ``exit_code`` is None if it was killed.

    ``accounts`` is the number of its accounts. ``attention`` has the keys of what it left to a
    person, and whether each was new.

    ``cpu`` has the seconds of the run without those of WeChat, which are in ``server``, and
    ``memory`` is by how many KiB it grew. ``pace`` has the CPU seconds of a fixed piece of
    work just before the run: the speed of a shared machine changes. ``changes`` is the number of
    changed files. ``final`` has the masks of final days in the files that were replaced.
    """

    day: Day
    shard: int
    accounts: int
    pace: float
    exit_code: int | None = None
    reasons: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    attention: dict[str, bool] = field(default_factory=dict)
    answered: list[Answered] = field(default_factory=list)
    final: dict[Partition, dict[str, int]] = field(default_factory=dict)
    requests: int = 0
    changes: int = 0
    cpu: float = 0.0
    server: float = 0.0
    memory: int = 0
    is_killed: bool = False

    def __str__(self) -> str:
        code = "killed" if self.is_killed else self.exit_code
        words = ",".join((*self.reasons, *self.problems))
        used = f"{self.cpu:.2f} s + {self.server:.2f} s, {self.memory / 1024:.0f} MiB"
        return f"{day_text(self.day)} {code} {words or '-'}: {self.requests} calls, {used}"


class DayNews(NamedTuple):
    """The calls of a run by dataset, and those that brought news."""

    day: Day
    counts: dict[str, int]


DaySizes: TypeAlias = tuple[Day, dict[str, int]]
"""A day, and the bytes of each kind of file at its end."""


class LostDay(NamedTuple):
    """A day of which rows are missing or wrong at the end."""

    dataset: str
    appid: str
    day: Day
    rows: int


@dataclass
class Comparison:
    """The rows of an output beside the truth."""

    rows: int = 0
    extra: int = 0
    lost: list[LostDay] = field(default_factory=list)
    wrong: list[LostDay] = field(default_factory=list)


class RunsLog(NamedTuple):
    """All runs of a life, and the seconds that it took."""

    reports: list[RunReport]
    news: list[DayNews]
    sizes: list[DaySizes]
    seconds: float


def report_of(scope: Scope, story: Story, log: RunsLog, compared: Comparison) -> dict[str, Any]:
    """Return the report as plain data."""
    reports, news, sizes, seconds = log
    shortfalls = [_shortfall(each, story, compared) for each in story.events]
    calls = sum(each.counts.get("calls", 0) for each in news)
    daily = [each for each in reports if each.day <= scope.last]
    excused = [each for each in story.events if "hole" in each.what or "Date" in each.what]
    beside = [each for each in (*compared.lost, *compared.wrong) if not _is_of(each, excused)]
    return {
        "scope": asdict(scope),
        "seconds": seconds,
        "calls": calls,
        "without_news": _without_news(news, {scope.first}),
        "answers_a_second": calls / seconds,
        "rows": compared.rows,
        "extra": compared.extra,
        "wrong": sum(each.rows for each in compared.wrong),
        "missing": sum(each.rows for each in compared.lost),
        "lost": list(map(_named, compared.lost[:_MAX_LISTED])),
        "spoilt": list(map(_named, compared.wrong[:_MAX_LISTED])),
        "beside": list(map(_named, beside[:_MAX_LISTED])),
        "codes": _codes(reports),
        "last_codes": [_code(each) for each in reports if each.day > scope.last],
        "bugs": sum("bug" in each.reasons for each in reports),
        "events": [
            _told(event, reports, *shortfall)
            for event, shortfall in zip(story.events, shortfalls, strict=True)
        ],
        "months": list(_months(daily, news, sizes)),
        "news_by_dataset": _by_dataset(scope, news),
        "runs": [_run(each) for each in reports],
        "attention": _attention(reports),
        **_growth(daily, sizes),
    }


def _named(lost: LostDay) -> list[Any]:
    return [lost.dataset, lost.appid, day_text(lost.day), lost.rows]


def _is_of(lost: LostDay, events: Iterable[Event]) -> bool:
    """Return whether a day is one of those that one of the events is about."""
    end = period_of(CATALOGUE[lost.dataset].grain, lost.day)[-1]
    return any(
        event.begin <= end <= event.end and event.appid in {"", lost.appid} for event in events
    )


def _code(report: RunReport) -> str:
    return "killed" if report.is_killed else str(report.exit_code)


def _codes(reports: Iterable[RunReport]) -> dict[str, int]:
    return dict(Counter(map(_code, reports)))


def _run(report: RunReport) -> list[Any]:
    said = [*report.reasons, *report.problems]
    return [day_text(report.day), _code(report), said, report.requests, round(report.cpu, 3)]


def _attention(reports: Iterable[RunReport]) -> dict[str, Any]:
    """Return the days on which each key was left to a person, and on how many one was new.

    Runs are ``hidden`` whose code says that nothing needs a person although something does.
    """
    told = [each for each in reports if each.attention]
    days: defaultdict[str, list[str]] = defaultdict(list)
    for each in told:
        for key in each.attention:
            days[key].append(day_text(each.day))
    hidden = [day_text(each.day) for each in told if each.exit_code in (0, 75)]
    new = {each.day for each in told if any(each.attention.values())}
    return {"days": days, "new_days": len(new), "hidden": hidden}


def _shortfall(event: Event, story: Story, compared: Comparison) -> tuple[int, int]:
    """Return the rows that are missing and wrong of an event; those of a hole are of no other."""
    holes = [each for each in story.events if "hole" in each.what and each != event]
    others = () if "hole" in event.what else holes
    lost, wrong = (
        sum(each.rows for each in days if _is_of(each, [event]) and not _is_of(each, others))
        for days in (compared.lost, compared.wrong)
    )
    return lost, wrong


def _told(event: Event, reports: list[RunReport], missing: int, wrong: int) -> dict[str, Any]:
    """Return an event with the runs that met it and what they said."""
    met = [each for each in reports if each.day in event.met]
    usual = [each for each in reports if each.day < event.met.start][-5:]
    known = {word for each in usual for word in (*each.reasons, *each.problems)}
    news: dict[str, list[str]] = {}
    for each in met:
        for word in {*each.reasons, *each.problems} - known:
            told = f"{day_text(each.day)} {_code(each)}"
            news[word] = [news.get(word, [told])[0], told]
    return {
        "what": event.what,
        "begin": day_text(event.begin),
        "end": day_text(event.end),
        "codes": _codes(met),
        "said": news,
        "missing": missing,
        "wrong": wrong,
    }


def _without_news(news: Iterable[DayNews], left_out: set[Day]) -> float:
    """Return the share of answers that brought nothing."""
    counted = [each.counts for each in news if each.day not in left_out]
    calls = sum(each.get("calls", 0) for each in counted)
    return 1 - sum(each.get("news", 0) for each in counted) / calls if calls else 0.0


def _by_dataset(scope: Scope, news: list[DayNews]) -> dict[str, list[int]]:
    whole: Counter[str] = Counter()
    for each in news:
        whole.update(each.counts)
    return {name: [whole[name], whole[f"{name} news"]] for name in scope.datasets}


def _months(
    reports: list[RunReport], news: list[DayNews], sizes: list[DaySizes]
) -> Iterable[dict[str, Any]]:
    months: defaultdict[str, list[RunReport]] = defaultdict(list)
    for each in reports:
        months[day_text(each.day)[:7]].append(each)
    for month, runs in months.items():
        of_month = [each for each in news if day_text(each.day)[:7] == month]
        yield {
            "month": month,
            "runs": len(runs),
            "codes": _codes(runs),
            "calls": sum(each.counts.get("calls", 0) for each in of_month),
            "news": sum(each.counts.get("news", 0) for each in of_month),
            "bytes": [found for day, found in sizes if day_text(day)[:7] == month][-1],
            "cpu": median(each.cpu for each in runs),
            "server": median(each.server for each in runs),
            "memory": max(each.memory for each in runs if each.day != reports[0].day) / 1024
            if len(runs) > 1
            else 0.0,
        }


def _growth(reports: list[RunReport], sizes: list[DaySizes]) -> dict[str, float]:
    """Return the CPU and memory per account of the last thirty days, as a ratio to the first ones.

    Thirty days are compared with thirty, because the files of a month grow until its end. Numbers
    are per account, because accounts join during the life. The very first day is left out.
    """

    def growth(figure: Callable[[RunReport], float]) -> float:
        last, first = (
            median(figure(each) / each.accounts for each in part)
            for part in (reports[-30:], reports[1:31])
        )
        return last / first if first else 1.0

    side = {kind: size for kind, size in sizes[-1][1].items() if kind != "data"}
    return {
        "cpu_growth": growth(lambda each: each.cpu / each.pace),
        "memory_growth": growth(lambda each: each.memory),
        "side_share": sum(side.values()) / max(1, sizes[-1][1].get("data", 0)),
    }
