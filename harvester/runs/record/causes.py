"""Causes: facts of trouble, grouped by what they have in common.

`Causes` groups them while a run goes on, for the events; `lost_lines` groups what is missing in the
end, for people.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from itertools import islice
from typing import NamedTuple, TypeAlias, cast

from harvester.core.model import Refusal, Window
from harvester.core.rule import Action, Rule, Scope
from harvester.core.text.inert_text import named
from harvester.core.text.safe_text import safe_text
from harvester.core.text.wording import and_more, counted, entry, one_or_many, said, sentences
from harvester.runs.record.absent_rows import NO_ROWS_ADVICE, NO_ROWS_TEXT
from harvester.runs.record.account_report import errcode_of, reason_of
from harvester.runs.record.events import MAX_ACCOUNTS, REPEAT_SECONDS, Problem, Stamp
from harvester.runs.record.events import Cause as Word
from harvester.runs.record.prospects import comes_at, moment_text
from harvester.runs.record.record import Record
from harvester.scheduling.listener import AbandonedDays, Troubled
from harvester.storage.empty_everywhere import EmptyEverywhere
from harvester.storage.publication import QuarantinedDay
from harvester.wechat.auth.token_owners import SAME_TOKEN

MAX_CAUSES = 12
"""Causes that a text names; the record has all."""

QUIET_SECONDS = 10.0
"""A passing cause is gone when calls were answered and none met it for this long."""

MAX_PASSING = 50
"""Maximum different passing causes that are kept; the next ones differ in words alone."""

_SHOWN = 3
"""Maximum accounts or days that are named; the run record names all of them."""

_WHOLE_ACCOUNTS = (Scope.ACCOUNT, Scope.RUN)

QUARANTINE_ADVICE = said(
    "The answers are in _harvester/quarantine. Once the cause is gone:"
    " harvester run --refetch quarantined"
)
CLOCK_ADVICE = said(
    "Set this machine's clock, as with NTP. If it is right, WeChat's `Date` is wrong, or that of"
    " a proxy before it. Until they agree days are asked and become final by the earlier of both."
)
EMPTY_ADVICE = {
    "again": said("Silence is no proof of an empty day: a few accounts ask again, then all."),
    "person": said(
        "A few accounts go on asking. See if WeChat's console has numbers for these days."
    ),
}
_LATE_ADVICE = said("What there is so far is published, and asked for again on a later day.")

_Key: TypeAlias = tuple[Word, str, str | None, int | str | None]


@dataclass(slots=True)
class _Cause:
    """A cause, as it was met first, and as it was told last.

    ``left`` counts its days or attempts by appid, and ``accounts`` are those that it is told of, in
    the order in which they met it. ``datasets`` are those that it is known to concern, if it does
    not concern whole accounts. ``answered`` counts the answers of the run when it was met last, as
    far as is known.
    """

    key: _Key
    rule: Rule
    why: Refusal | str
    left: Counter[str] = field(default_factory=Counter)
    accounts: dict[str, None] = field(default_factory=dict)
    datasets: dict[str, None] = field(default_factory=dict)
    attempts: int = 0
    last_at: float = 0.0
    answered: int = 0
    told_at: float = 0.0
    told: int = -1
    is_open: bool = False

    @property
    def size(self) -> int:
        """The number with which it is told again: attempts of a passing cause, else accounts."""
        return self.attempts or len(self.accounts)

    def meet(self, appid: str) -> None:
        """Take in one more day or attempt of an account."""
        self.left[appid] += 1
        self.accounts.setdefault(appid)

    def leave(self, appid: str) -> None:
        """Take back a day of an account. A cause that is gone is told with its last accounts."""
        self.left -= Counter({appid: 1})
        if self.left and appid not in self.left:
            self.accounts.pop(appid, None)

    def is_over(self, answered: int) -> bool:
        """Return whether no day of it is left, and an answer has shown it, or it was not told."""
        return not self.left and (answered > self.answered or not self.is_open)

    def problem(self, stamp: Stamp, *, resolved: bool = False, repeated: bool = False) -> Problem:
        """Return the cause as a problem, and remember that it is told."""
        self.told_at, self.told, self.is_open = stamp.time, self.size, not resolved
        word, _, _, code = self.key
        text, datasets = said(self.rule.meaning), [*self.datasets]
        if len(datasets) > 1:
            many = counted(len(datasets), "dataset")
            text = said("{text} ({datasets})", text=text, datasets=many)
        # Made safe as a whole: words that act at the beginning of a line do not act behind others.
        whole = safe_text(text if str(self.why) in ("", text) else f"{text}: {self.why}")
        _, point, why = whole.partition(f"{text}: ")
        found = Problem(
            *stamp,
            word,
            entry(text, why) if point else said(whole),
            said(self.rule.advice),
            self.rule.scope.value,
            datasets[0] if len(datasets) == 1 else None,
            attempts=self.attempts,
            errcode=code if isinstance(code, int) else None,
            repeated=repeated,
            resolved=resolved,
        )
        return _of(self.accounts, found)


class Causes:
    """The causes of trouble of one process, grouped as they come and told at most once a minute."""

    def __init__(self) -> None:
        self._lost: dict[_Key, _Cause] = {}
        self._passing: dict[_Key, _Cause] = {}

    def abandon(self, days: AbandonedDays, answered: int = 0) -> None:
        """Take in days that are given up, after ``answered`` answers of the run."""
        key = _key_of(days)
        cause = self._lost.setdefault(key, _Cause(key, days.rule, days.why))
        cause.meet(days.appid)
        cause.answered = answered
        if days.rule.scope not in _WHOLE_ACCOUNTS:
            cause.datasets.setdefault(days.dataset)

    def reopen(self, days: Iterable[AbandonedDays]) -> None:
        """Take in days that are given up no longer, or for another cause."""
        for item in days:
            cause = self._lost.get(_key_of(item))
            if cause is not None:
                cause.leave(item.appid)

    def meet(self, fact: Troubled, now: float, answered: int) -> None:
        """Take in an attempt that failed for a passing cause."""
        # A code is one cause whatever its message says, which has a rid in it.
        said = fact.why.errcode if isinstance(fact.why, Refusal) else fact.why
        key = _passing_word(fact.rule), fact.rule.meaning, None, said
        if key not in self._passing and len(self._passing) >= MAX_PASSING:
            return
        cause = self._passing.setdefault(key, _Cause(key, fact.rule, fact.why))
        cause.meet(fact.appid)
        cause.attempts += 1
        cause.last_at, cause.answered = now, answered

    def news(self, stamp: Stamp, answered: int) -> Iterator[Problem]:
        """Yield the causes that are new, go on since a minute, or are gone.

        ``answered`` counts the answers of the run so far.
        """
        for cause in (*self._passing.values(), *self._lost.values()):
            is_due = cause.size > cause.told and stamp.time - cause.told_at >= REPEAT_SECONDS
            # Silence alone proves nothing: while all wait, no call could have met the cause.
            is_quiet = stamp.time - cause.last_at >= QUIET_SECONDS and answered > cause.answered
            if cause.left and (cause.told < 0 or is_due):
                yield cause.problem(stamp, repeated=cause.is_open)
            elif cause.attempts and cause.is_open and is_quiet:
                yield cause.problem(stamp, resolved=True)
        gone = [cause for cause in self._lost.values() if cause.is_over(answered)]
        # Last, so that a cause that takes the place of another is told before that one is gone.
        for cause in gone:
            del self._lost[cause.key]
            if cause.is_open:
                yield cause.problem(stamp, resolved=True)


def quarantined(days: Iterable[QuarantinedDay], stamp: Stamp) -> Iterator[Problem]:
    """Return a problem for each dataset and reason of quarantined days."""
    found = ((day.dataset, _quarantine_text(day), day.appid) for day in days)
    return _of_windows(found, "quarantined", QUARANTINE_ADVICE, stamp)


def cause_of_quarantined(day: QuarantinedDay) -> Word:
    """Return the cause for which a day is in quarantine."""
    return "shared_token" if day.reason.endswith(SAME_TOKEN) else "quarantined"


def _quarantine_text(day: QuarantinedDay) -> str:
    if cause_of_quarantined(day) == "shared_token":
        return day.reason
    return said("an answer does not fit its columns: {reason}", reason=day.reason)


@cache
def remedy(rule: Rule) -> str:
    """Return what a rule means, and what to do about it."""
    return sentences(said(rule.meaning), said(rule.advice))


def late(windows: Iterable[Window], stamp: Stamp) -> Iterator[Problem]:
    """Return a problem for each dataset with windows that WeChat is still computing."""
    what = said("WeChat is still computing the answer")
    found = ((window.dataset, what, window.appid) for window in sorted(windows))
    return _of_windows(found, "not_ready", _LATE_ADVICE, stamp)


def clock_apart(stamp: Stamp) -> Problem:
    """Return the problem that this machine's clock and WeChat's differ."""
    what = said("this machine's clock and WeChat's differ by more than ten minutes")
    return _of({}, Problem(*stamp, "clock", what, CLOCK_ADVICE, Scope.RUN.value))


def empty_everywhere(found: Iterable[EmptyEverywhere], stamp: Stamp) -> Iterator[Problem]:
    """Return a problem for each stretch of days that are empty for all accounts."""
    for each in found:
        if each.meaning != "note":
            about = each.text, EMPTY_ADVICE[each.meaning], Scope.WINDOW.value, each.dataset
            at = moment_text(each.retry_at)
            yield Problem(*stamp, "empty_everywhere", *about, count=each.accounts, retry_at=at)


def no_rows(stamp: Stamp) -> Problem:
    """Return the problem that an output has no row at all."""
    return _of({}, Problem(*stamp, "no_rows", NO_ROWS_TEXT, NO_ROWS_ADVICE, Scope.RUN.value))


def _of_windows(
    found: Iterable[tuple[str, str, str]], word: Word, advice: str, stamp: Stamp
) -> Iterator[Problem]:
    """Yield a problem for each dataset and text, with the accounts that come with them."""
    alike: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for dataset, text, appid in found:
        alike[dataset, text].setdefault(appid)
    for (dataset, text), accounts in alike.items():
        problem = Problem(*stamp, word, text, advice, Scope.WINDOW.value, dataset)
        yield _of(accounts, problem)


class LostDays(NamedTuple):
    """Days lost for one reason: their number, their accounts, an example of the reason, advice."""

    days: int
    whose: str
    why: str
    advice: str = ""


def lost_lines(record: Record, names: Mapping[str, str]) -> Iterator[str]:
    """Yield refusals and failures, those with the most days first, then days without an answer.

    Each is one line; its advice is an indented line below. Advice that several causes share is
    printed once. ``names`` has the names of accounts by appid.
    """
    refused = sorted(_given_up(record.abandoned, names), key=lambda found: -found.days)
    silent = (
        LostDays(each.days, each.dataset, each.text, EMPTY_ADVICE[each.meaning])
        for each in record.empty_everywhere
        if each.meaning != "note"
    )
    if record.is_rowless:
        yield NO_ROWS_TEXT
        yield said("  {advice}", advice=NO_ROWS_ADVICE)
    found, told = [*refused, *silent, *_in_quarantine(record.quarantined, names)], {""}
    for cause in found[:MAX_CAUSES]:
        days = counted(cause.days, "day")
        yield entry(cause.whose, entry(days, cause.why))
        if cause.advice not in told:
            yield said("  {advice}", advice=cause.advice)
        told.add(cause.advice)
    if (more := len(found) - MAX_CAUSES) > 0:
        yield said("and {kinds} in the run record", kinds=counted(more, "more kind"))


def _given_up(abandoned: Iterable[AbandonedDays], names: Mapping[str, str]) -> Iterator[LostDays]:
    alike: defaultdict[tuple[object, ...], list[AbandonedDays]] = defaultdict(list)
    for item in abandoned:
        alike[errcode_of(item), item.rule.meaning, item.rule.action].append(item)
    for items in alike.values():
        rule, whys = items[0].rule, dict.fromkeys(str(item.why) for item in items)
        days, whose = sum(item.count for item in items), _subject(items, names)
        # The messages of a code differ by a rid alone; without a code each says something else.
        most = 1 if isinstance(items[0].why, Refusal) else _SHOWN
        yield LostDays(days, whose, "; ".join(islice(whys, most)), remedy(rule))


def _in_quarantine(days: Iterable[QuarantinedDay], names: Mapping[str, str]) -> Iterator[LostDays]:
    alike: defaultdict[str, list[QuarantinedDay]] = defaultdict(list)
    for item in days:
        alike[item.reason].append(item)
    for reason, items in sorted(alike.items(), key=lambda pair: -len(pair[1])):
        subject, when = _subject(items, names), _days({item.day for item in items})
        whose = said("{subject} {days}", subject=subject, days=when)
        yield LostDays(len(items), whose, said("quarantined: {reason}", reason=reason))


def _days(found: set[date]) -> str | list[str]:
    """List the days, oldest first; of many name the first and the last."""
    if len(found) <= _SHOWN:
        return list(map(str, sorted(found)))
    return f"{min(found)}..{max(found)}"


def _subject(items: Sequence[AbandonedDays | QuarantinedDay], names: Mapping[str, str]) -> str:
    """Name the accounts and datasets: ``3 accounts (wx… Acme, wx…, wx…), 2 datasets``."""
    appids = list(dict.fromkeys(item.appid for item in items))
    datasets = list(dict.fromkeys(item.dataset for item in items))
    shown = [named(appid, names.get(appid, "")) for appid in appids[:_SHOWN]]
    whose = and_more(shown, len(appids))
    if len(appids) > 1:
        accounts = counted(len(appids), "account")
        whose = said("{count} ({accounts})", count=accounts, accounts=whose)
    return said("{text}, {more}", text=whose, more=one_or_many(datasets, "dataset"))


def _key_of(item: AbandonedDays) -> _Key:
    """Return what days have in common that are given up for one cause.

    A code is one cause whatever its message says, which has a rid in it. What concerns whole
    accounts is one for all their datasets, and so is what each of their datasets is refused.
    """
    word = cast("Word", item.rule.cause or reason_of(item)[0])
    dataset = None if item.rule.scope in _WHOLE_ACCOUNTS or word == "refused" else item.dataset
    return word, item.rule.meaning, dataset, errcode_of(item)


def _passing_word(rule: Rule) -> Word:
    if rule.action is Action.SLOW_DOWN:
        return "minute_limit"
    # A rule of the account is about a token, and WeChat was reached: it gave no usable answer.
    if rule.action is Action.HOST_DOWN and rule.scope is Scope.WINDOW:
        return "unreachable"
    return "foreign_page" if rule.is_local else "no_answer"


def _of(accounts: Mapping[str, object], problem: Problem) -> Problem:
    """Return a problem that names the first of its accounts, counts all and says when it ends."""
    shown = tuple(islice(accounts, MAX_ACCOUNTS))
    at = None if problem.resolved else comes_at(problem.cause, problem.time)
    return replace(problem, accounts=shown, count=len(accounts), retry_at=moment_text(at))
