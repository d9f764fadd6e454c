"""The state that all readers of a manifest share: the mistakes found, and places in the file.

Readers report every mistake and continue. A message quotes texts of the manifest through
`harvester.core.config.references.quote_safe`, because a secret may be written in the wrong place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from harvester.core.calendar import Day
from harvester.core.config.references import Reference
from harvester.core.errors import MAX_MISTAKES, ManifestError, Mistake, Place
from harvester.manifest.account_selection import TAG


@dataclass(frozen=True)
class Invalid:
    """Placeholder of a value that could not be read.

    ``what`` and ``hint`` are reported during validation, but not under an unknown key, which is
    reported itself. Without them the value was reported already.
    """

    what: str = ""
    hint: str = ""


Step: TypeAlias = str | int
"""A key of a mapping or an index of a list."""


Steps: TypeAlias = tuple[Step, ...]
"""The path of a part: the keys and indices that lead to it."""

Find: TypeAlias = Callable[[Steps, bool], Place | None]
"""Function that returns the place of a part of a file, given its path, or of the part's key.

It is None for a missing part.
"""


@dataclass(slots=True)
class LoadContext:
    """The inputs and findings of one load of a manifest, which need not be in its ``file``.

    ``mistakes`` are in the order of finding; `ManifestError` sorts them.
    ``references`` are those that were resolved. ``invalid_accounts`` holds all texts of accounts
    with mistakes: a job may name one by them. ``accounts_unknown`` is true if
    some accounts could not be read at all, so that a job may name anything. ``partial`` is true if
    the YAML has mistakes, so that keys may be missing. ``bad`` are the keys of the manifest that
    have mistakes. ``credential_places`` and
    ``account_places`` are as in `Manifest`. Neither ``environ`` nor ``invalid_accounts`` is
    in the repr: they hold secrets.
    """

    file: Path
    environ: Mapping[str, str] = field(repr=False)
    today: Day
    mistakes: list[Mistake] = field(default_factory=list)
    references: dict[Reference, None] = field(default_factory=dict)
    invalid_accounts: set[str] = field(default_factory=set, repr=False)
    accounts_unknown: bool = False
    partial: bool = False
    bad: set[str] = field(default_factory=set)
    credential_places: dict[str, Place] = field(default_factory=dict)
    account_places: dict[str, Place] = field(default_factory=dict)

    def refuse(self, place: Place, what: str, hint: str = "") -> None:
        """Report a mistake. Raises ManifestError if there are more than MAX_MISTAKES."""
        self.mistakes.append(Mistake(place, what, hint))
        # A file that is no manifest may have millions.
        if len(self.mistakes) > MAX_MISTAKES:
            raise ManifestError(self.mistakes)

    def fatal(self, place: Place, what: str, hint: str = "") -> ManifestError:
        """Return the error for a mistake that ends the reading, with all mistakes found so far."""
        return ManifestError([*self.mistakes, Mistake(place, what, hint)])

    def may_have_account(self, name: str) -> bool:
        """Return whether an unknown name may belong to an account with a mistake of its own."""
        words = name, name.removeprefix(TAG), name.partition("=")[2].strip() or name
        return self.accounts_unknown or not self.invalid_accounts.isdisjoint(words)


@dataclass(slots=True, repr=False)
class Section:
    """A value of a file before validation, at the path ``at``, and what finds places in the file.

    It has no repr, because the value may be secret.
    """

    value: Any
    find: Find
    context: LoadContext
    at: Steps = ()

    def place(self, loc: Steps, *, key: bool = False) -> Place:
        """Return the place of a part, or of its key; for a missing part, of the nearest parent."""
        path = (*self.at, *loc)
        while (found := self.find(path, key)) is None:
            path = path[:-1]
        return found

    def items(self, name: str) -> list[Section]:
        """Return the items of a list below a key; none if there is no list."""
        values = self.value.get(name)
        indices = range(len(values) if isinstance(values, list) else 0)
        return [replace(self, value=values[at], at=(*self.at, name, at)) for at in indices]

    def refuse(self, loc: Steps, what: str, hint: str = "", *, key: bool = False) -> None:
        """Report a mistake in a part, or in its key."""
        self.context.refuse(self.place(loc, key=key), what, hint)
