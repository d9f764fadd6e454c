"""The jobs of a manifest, with the names in them looked up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harvester.core.config.settings import Job
from harvester.core.errors import InvalidValue
from harvester.manifest import models
from harvester.manifest.account_selection import AccountIndex, datasets_named
from harvester.manifest.diagnostics import Section, Steps


def job_of(written: models.WrittenJob, index: int, section: Section, known: AccountIndex) -> Job:
    """Return a job with the full names of its datasets and accounts, and report unknown ones."""
    (begin_text, begin), (end_text, end) = written.begin_date, written.end_date
    if end is not None and end < begin:
        section.refuse(("end_date",), "`end_date` is before `begin_date`", "swap them")
    return Job(
        name=str(written.name or f"job-{index + 1}"),
        datasets=looked_up(section, written.datasets, ("datasets",), datasets_named),
        appids=_appids(written.accounts, section, known),
        begin=begin,
        end=end,
        written=(begin_text, end_text),
    )


def looked_up(
    section: Section, names: Sequence[str], loc: Steps, look_up: Callable[[str], list[str]]
) -> tuple[str, ...]:
    """Return what the names of a list stand for, each once. Unknown ones are reported."""
    known: dict[str, None] = {}
    for index, name in enumerate(names):
        try:
            known.update(dict.fromkeys(look_up(name)))
        except InvalidValue as flaw:
            # An account with mistakes of its own is unknown too, and reported already.
            if "datasets" in loc or not section.context.may_have_account(name):
                section.refuse((*loc, index), flaw.what, flaw.hint)
    return tuple(known)


def _appids(
    written: tuple[str, ...] | models.Chosen, section: Section, known: AccountIndex
) -> tuple[str, ...]:
    if isinstance(written, tuple):
        return looked_up(section, written, ("accounts",), known.selected)
    before = len(section.context.mistakes)
    groups = []
    if written.tags is not None:
        groups.append({*looked_up(section, written.tags, ("accounts", "tags"), known.tagged)})
    for name, values in (written.attributes or {}).items():
        words = [f"{name}={value}" for value in values]
        loc = ("accounts", "attributes", name)
        groups.append({*looked_up(section, words, loc, known.with_attribute)})
    without = {*looked_up(section, written.without or (), ("accounts", "except"), known.selected)}
    # In the order of the accounts, whatever the order of the words.
    chosen = [appid for appid in known.appids if all(appid in group for group in groups)]
    left = tuple(appid for appid in chosen if appid not in without)
    # None may be left because of a mistake that is reported already.
    may_follow = section.context.invalid_accounts or len(section.context.mistakes) > before
    if chosen and not left and not may_follow:
        section.refuse(("accounts",), "`accounts` leaves none", "widen it or drop the job")
    return left
