"""The jobs of a manifest, with the names in them looked up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from harvester.core.config.settings import Job
from harvester.core.errors import InvalidValue
from harvester.manifest import models
from harvester.manifest.account_selection import AccountIndex, datasets_named
from harvester.manifest.diagnostics import LoadContext, Step, Where


def job_of(
    written: models.WrittenJob,
    index: int,
    where: Where,
    *,
    known: AccountIndex,
    context: LoadContext,
) -> Job:
    """Return a job with the full names of its datasets and accounts, and report unknown ones."""
    mistakes = context.mistakes
    begin, end = written.begin_date, written.end_date
    if end.day is not None and end.day < begin.day:
        mistakes.add(where(("end_date",)), "`end_date` is before `begin_date`", "swap them")
    names = Names(where, context)
    return Job(
        name=str(written.name or f"job-{index + 1}"),
        datasets=names.found(written.datasets, ("datasets",), datasets_named),
        appids=_appids(written.accounts, names, known),
        begin=begin.day,
        end=end.day,
        written=(begin.text, end.text),
    )


class Names(NamedTuple):
    """The names in a part of a manifest. Unknown ones are reported, each with its place."""

    where: Where
    context: LoadContext

    def found(
        self, names: Sequence[str], loc: tuple[Step, ...], look_up: Callable[[str], list[str]]
    ) -> tuple[str, ...]:
        """Return what the names of a list stand for, each once."""
        found: dict[str, None] = {}
        for index, name in enumerate(names):
            try:
                found.update(dict.fromkeys(look_up(name)))
            except InvalidValue as flaw:
                # An account with mistakes of its own is unknown too, and reported already.
                if "datasets" in loc or not self.context.may_have_account(name):
                    self.context.mistakes.add(self.where((*loc, index)), flaw.what, flaw.hint)
        return tuple(found)


def _appids(
    written: tuple[str, ...] | models.Chosen, names: Names, known: AccountIndex
) -> tuple[str, ...]:
    if isinstance(written, tuple):
        return names.found(written, ("accounts",), known.selected)
    context = names.context
    before = len(context.mistakes.found)
    groups = []
    if written.tags is not None:
        groups.append({*names.found(written.tags, ("accounts", "tags"), known.tagged)})
    for name, values in (written.attributes or {}).items():
        words = [f"{name}={value}" for value in values]
        loc = ("accounts", "attributes", name)
        groups.append({*names.found(words, loc, known.with_attribute)})
    without = {*names.found(written.without or (), ("accounts", "except"), known.selected)}
    # In the order of the accounts, whatever the order of the words.
    chosen = [appid for appid in known.names if all(appid in group for group in groups)]
    left = tuple(appid for appid in chosen if appid not in without)
    # None may be left because of a mistake that is reported already.
    may_follow = context.invalid_accounts or len(context.mistakes.found) > before
    if chosen and not left and not may_follow:
        what, hint = "`accounts` leaves none", "widen it or drop the job"
        context.mistakes.add(names.where(("accounts",)), what, hint)
    return left
