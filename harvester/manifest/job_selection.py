"""Lookup of the names in jobs."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import NamedTuple

from harvester.catalogue import CATALOGUE, matching, retirement
from harvester.core.config.references import quote_safe
from harvester.core.config.settings import Account, Job
from harvester.core.errors import InvalidValue
from harvester.manifest import models
from harvester.manifest.attributes import Attributed, attributed, is_attribute, with_attribute
from harvester.manifest.diagnostics import Diagnostics, LoadContext, Step, Where, nearest

MAX_LISTED = 10
"""Known names that a hint lists."""

MAX_HINTS = 20
"""Unknown appids of a job that get a hint. More are no typing errors, and a hint takes time."""


class Known(NamedTuple):
    """The names that a job may use: appids, and by tag and attribute the appids that have it."""

    appids: dict[str, None]
    tags: dict[str, list[str]]
    attributes: Attributed


def known_from(accounts: Sequence[Account]) -> Known:
    """Return the names that jobs may use for these accounts."""
    appids = dict.fromkeys(account.appid for account in accounts)
    return Known(appids, tags_of(accounts), attributed(accounts))


def tags_of(accounts: Iterable[Account]) -> dict[str, list[str]]:
    """Return the appids of each tag, in the order of the accounts."""
    tagged: dict[str, list[str]] = {}
    for account in accounts:
        for tag in account.tags:
            tagged.setdefault(tag, []).append(account.appid)
    return tagged


def known_tags(tags: Iterable[str]) -> str:
    """Return a hint with the tags that accounts have."""
    found = [*tags]
    return f"the tags are {listed(found)}" if found else "no account has a tag"


def listed(names: Sequence[str]) -> str:
    """Return the first names of a list, without those that could be a secret."""
    shown = [name.strip(" `") for name in map(quote_safe, names[:MAX_LISTED]) if name]
    return ", ".join(shown) + (", …" if len(names) > MAX_LISTED else "")


def job_of(
    written: models.WrittenJob, index: int, where: Where, *, known: Known, context: LoadContext
) -> Job:
    """Return a job with the full names of its datasets and accounts, and report unknown ones."""
    mistakes = context.mistakes
    if written.end_date is not None and written.end_date < written.begin_date:
        mistakes.add(where(("end_date",)), "`end_date` is before `begin_date`", "swap them")
    return Job(
        name=str(written.name or f"job-{index + 1}"),
        datasets=_datasets(written, where, mistakes),
        appids=_appids(written.accounts, _Finder(where, known, context)),
        begin=written.begin_date,
        end=written.end_date,
    )


def _datasets(written: models.WrittenJob, where: Where, mistakes: Diagnostics) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for index, pattern in enumerate(written.datasets):
        found = matching(pattern)
        names.update(dict.fromkeys(dataset.name for dataset in found))
        if not found:
            mistakes.add(where(("datasets", index)), *unknown_dataset(pattern))
    return tuple(names)


def unknown_dataset(pattern: str) -> tuple[str, str]:
    """Return the mistake and the hint for a pattern that matches no dataset."""
    retired = retirement(pattern)
    if retired:
        return retired
    names = [*CATALOGUE, *(dataset.api for dataset in CATALOGUE.values())]
    hint = nearest(pattern, names) or "`harvester datasets` lists them"
    return f"unknown dataset{quote_safe(pattern)}", hint


def _appids(written: tuple[str, ...] | models.Chosen, find: _Finder) -> tuple[str, ...]:
    if isinstance(written, tuple):
        return find.appids(written, ("accounts",))
    mistakes = find.context.mistakes
    before = len(mistakes.found)
    chosen = tuple(find.known.appids)
    if written.tags is not None:
        tagged = find.tags(written.tags, ("accounts", "tags"))
        chosen = tuple(appid for appid in chosen if appid in tagged)
    for name, values in (written.attributes or {}).items():
        having = find.with_attribute(name, values, ("accounts", "attributes", name))
        chosen = tuple(appid for appid in chosen if appid in having)
    without = set(find.appids(written.without or (), ("accounts", "except")))
    left = tuple(appid for appid in chosen if appid not in without)
    # Not reported if it may follow from another mistake.
    if chosen and not left and len(mistakes.found) == before and not find.context.invalid_accounts:
        what, hint = "`accounts` leaves none", "widen it or drop the job"
        mistakes.add(find.where(("accounts",)), what, hint)
    return left


class _Finder(NamedTuple):
    """Looks up the names in a job and reports the unknown ones, each with its place."""

    where: Where
    known: Known
    context: LoadContext

    def appids(self, names: Sequence[str], loc: tuple[Step, ...]) -> tuple[str, ...]:
        """Return the appids among the names, and those that attributes select, each once."""
        selecting = dict(filter(lambda item: is_attribute(item[1]), enumerate(names)))
        found = {i: self._with_attribute(word, (*loc, i)) for i, word in selecting.items()}
        others = (item for item in self.unknown(names, self.known.appids) if item[0] not in found)
        for count, (index, name) in enumerate(others):
            hint = nearest(name, self.known.appids) if count < MAX_HINTS else ""
            hint = hint or "name one of `accounts`"
            tag = name.removeprefix("tag:")
            if tag in self.known.tags:
                hint = f"a tag is written {{tags: [{tag}]}}"
            self.report((*loc, index), f"unknown account{quote_safe(name)}", hint)
        known = self.known.appids
        chosen = (
            appid
            for index, name in enumerate(names)
            for appid in found.get(index, [str(name)] if name in known else [])
        )
        return tuple(dict.fromkeys(chosen))

    def tags(self, names: Sequence[str], loc: tuple[Step, ...]) -> frozenset[str]:
        """Return the appids that have any of the tags."""
        for index, name in self.unknown(names, self.known.tags):
            hint = nearest(name, self.known.tags) or known_tags(self.known.tags)
            self.report((*loc, index), f"unknown tag{quote_safe(name)}", hint)
        return frozenset().union(*(self.known.tags.get(name, ()) for name in names))

    def with_attribute(
        self, name: str, values: Sequence[str], loc: tuple[Step, ...]
    ) -> frozenset[str]:
        """Return the appids that have an attribute with any of the values."""
        places = loc if len(values) == 1 else None
        found = (
            self._with_attribute(f"{name}={value}", places or (*loc, index))
            for index, value in enumerate(values)
        )
        return frozenset().union(*found)

    def _with_attribute(self, word: str, loc: tuple[Step, ...]) -> list[str]:
        try:
            return with_attribute(word, self.known.attributes)
        except InvalidValue as flaw:
            if not (self.context.accounts_unknown or word in self.context.invalid_accounts):
                self.report(loc, flaw.what, flaw.hint)
            return []

    def unknown(self, names: Sequence[str], known: Container[str]) -> Iterator[tuple[int, str]]:
        """Yield the unknown names and their indices.

        Names that may belong to an account with a mistake of its own are left out.
        """
        for index, name in enumerate(names):
            is_excused = self.context.accounts_unknown or name in self.context.invalid_accounts
            if name not in known and not is_excused:
                yield index, name

    def report(self, loc: tuple[Step, ...], what: str, hint: str) -> None:
        """Report a mistake at a part of the job."""
        self.context.mistakes.add(self.where(loc), what, hint)
