"""Events of a run as log lines for people: each cause of trouble, and each file that was replaced.

They are written to the log. So the log level and the masking of secrets apply to them, and they
appear above a progress bar.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from harvester.cli.output.phrases import minute_texts
from harvester.core.text.inert_text import inert, named
from harvester.core.text.wording import and_more, counted, entry, said, sentences
from harvester.runs.record.events import Event, Problem, Progress, Published, RunEnded
from harvester.verbs.progress import pause_between_lines

_OF_THE_HOST = {"unreachable", "foreign_page", "no_answer"}
"""Causes that concern the host: their lines name no account."""

_log = logging.getLogger("harvester.events")


class EventLines:
    """A listener that logs a line for each cause, and lists of replaced files.

    ``open`` has the passing causes that were told and are not over, by what tells them apart.
    """

    def __init__(self) -> None:
        self.open: dict[tuple[object, ...], Problem] = {}
        self._advised: set[str] = set()
        self._published: list[Published] = []
        self._listed_at = 0.0

    def tell(self, event: Event) -> None:
        """Log problems, and from time to time the replaced files. Other events are ignored."""
        match event:
            case Problem() if event.level != "error":
                # The error that ends the command is printed at its end.
                self._log_problem(event)
            case Published():
                self._published.append(event)
            case Progress(seconds=now) if now - self._listed_at >= pause_between_lines(now):
                self._list(now)
            case RunEnded():
                # The next run of one that goes on until all is complete begins at 0 again.
                self._list(0.0)
            case _:
                pass

    def _log_problem(self, problem: Problem) -> None:
        key = problem.shard, problem.cause, problem.errcode, problem.advice
        if problem.attempts and not problem.resolved:
            self.open[key] = replace(problem, repeated=True)
        else:
            self.open.pop(key, None)
        level = logging.INFO if problem.resolved else logging.WARNING
        advice = "" if problem.advice in self._advised else problem.advice
        self._advised.add(problem.advice)
        _log.log(level, "%s", problem_line(replace(problem, advice=advice)))

    def _list(self, now: float) -> None:
        published, self._published, self._listed_at = self._published, [], now
        for line in published_lines(published):
            _log.info("%s", line)


def problem_line(problem: Problem) -> str:
    """Return a cause as one line: what it is, whom it concerns, until when, and what to do."""
    text = _extended(problem)
    for name in filter(None, (_subject(problem), problem.dataset)):
        text = entry(name, text)
    if problem.resolved:
        return said("over: {text}", text=text)
    text = _until(problem, text)
    if problem.repeated:
        return said("still: {text}", text=text)
    return sentences(text, problem.advice) if problem.advice else text


def _subject(problem: Problem) -> str:
    """Name the first accounts that a cause concerns, and how many more there are."""
    if problem.scope == "run" or problem.cause in _OF_THE_HOST or not problem.accounts:
        return ""
    names = problem.names or ("",) * len(problem.accounts)
    shown = [named(*each) for each in zip(problem.accounts, names, strict=True)]
    return and_more(shown, problem.count)


def _extended(problem: Problem) -> str:
    """Return what a cause is, and how often it was met if that is more than once."""
    if problem.attempts < 2:
        return problem.message
    accounts = counted(problem.count, "account")
    found = {"text": problem.message, "count": problem.attempts, "accounts": accounts}
    return said("{text} ({count:,} attempts of {accounts})", **found)


def _until(problem: Problem, text: str) -> str:
    """Return a text with the time of the next attempt, in Beijing and here, if one waits."""
    if problem.retry_at is None or problem.cause not in {"quota", "minute_limit", "not_ready"}:
        return text
    here, beijing = minute_texts(dt.datetime.fromisoformat(problem.retry_at).timestamp())
    if here == beijing:
        return said("{text}; waits until {beijing} in Beijing", text=text, beijing=beijing)
    times = {"beijing": beijing, "here": here}
    return said("{text}; waits until {beijing} in Beijing, {here} here", text=text, **times)


def published_lines(published: list[Published]) -> Iterator[str]:
    """Yield a line for each dataset, with its replaced months and the number of rows gained."""
    by_dataset: defaultdict[str, list[Published]] = defaultdict(list)
    for item in published:
        by_dataset[item.dataset].append(item)
    for dataset, items in by_dataset.items():
        months = ", ".join(sorted({item.ref_month for item in items}))
        rows = sum(item.rows_after - item.rows_before for item in items)
        sign = "+" if rows >= 0 else ""
        yield inert(f"published {dataset} {months} ({sign}{counted(rows, 'row')})")
