"""The list of mistakes that all readers of a manifest append to, and the state they share.

Readers report every mistake and continue. A message quotes texts of the manifest through
`harvester.core.config.references.quote_safe`, because a secret may be written in the wrong place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harvester.core.calendar import Day
from harvester.core.errors import MAX_MISTAKES, ManifestError, Mistake, Place


@dataclass(frozen=True, slots=True)
class Invalid:
    """Placeholder of a value that could not be read.

    ``what`` and ``hint`` are reported during validation, but not under an unknown key, which is
    reported itself. Without them the value was reported already.
    """

    what: str = ""
    hint: str = ""


Step = str | int
"""A key of a mapping or an index of a list."""


class Where(Protocol):
    """A function that returns the place in the file for the path of a part of a value."""

    def __call__(self, loc: Sequence[Step] = (), /, *, key: bool = False) -> Place:
        """Return the place of a part, or of its key; for a missing part, of the nearest parent."""
        ...


class Diagnostics:
    """The mistakes found so far, in the order of finding; `ManifestError` sorts them.

    Reading stops after `MAX_MISTAKES`, because a file that is no manifest may have millions.
    """

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[Mistake] = []

    def add(self, place: Place, what: str, hint: str = "") -> None:
        """Append a mistake. Raises ManifestError if there are more than MAX_MISTAKES."""
        self.found.append(Mistake(place, what, hint))
        if len(self.found) > MAX_MISTAKES:
            raise ManifestError(self.found)

    def fatal(self, place: Place, what: str, hint: str = "") -> ManifestError:
        """Return the error for a mistake that ends the reading, with all mistakes found so far."""
        return ManifestError([*self.found, Mistake(place, what, hint)])


@dataclass(slots=True)
class LoadContext:
    """The inputs and findings of one load of a manifest.

    ``references`` are the texts whose references were resolved. ``invalid_accounts`` holds the
    appids and tags of accounts with mistakes: a job may name these. ``accounts_unknown`` is true if
    some accounts could not be read at all, so that a job may name anything. ``partial`` is true if
    the YAML has mistakes, so that keys may be missing. ``credential_places`` and
    ``account_places`` are as in `Manifest`. ``environ`` is not in the repr: it holds secrets.
    """

    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    today: Day
    mistakes: Diagnostics = field(default_factory=Diagnostics)
    references: dict[str, None] = field(default_factory=dict)
    invalid_accounts: set[str] = field(default_factory=set)
    accounts_unknown: bool = False
    partial: bool = False
    credential_places: dict[str, Place] = field(default_factory=dict)
    account_places: dict[str, Place] = field(default_factory=dict)

    def may_have_account(self, name: str) -> bool:
        """Return whether an unknown name may belong to an account with a mistake of its own."""
        return self.accounts_unknown or name in self.invalid_accounts
