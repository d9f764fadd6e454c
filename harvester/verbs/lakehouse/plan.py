"""Swaps of files in a table: what is copied again, added and removed. Pure.

A *source* is the name of a file of the output below its folder, such as
``ref_month=2026-05/part-0000-of-0001.parquet``. Its *copies* in a table have the beginning of the
digest of their bytes in their names, so a name stands for one content for ever. The compaction of a
table makes files of other names, each of one month where the table is partitioned.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

_DIGITS = 12
_COPY = re.compile(
    rf"((?:ref_month=[^/]+/)?(?:part-\d+-of-\d+|codes|\d{{4}}-\d{{2}}))-[0-9a-f]{{{_DIGITS}}}\.parquet"
)
_MONTH = re.compile(r"(?:.*/)?ref_month=([^/]+)/", re.DOTALL)


class Scope(NamedTuple):
    """Part of a table that a commit replaces.

    Copies of ``sources`` are made again or removed. Files of compaction are removed in ``months``,
    of which all sources are copied again.
    """

    sources: frozenset[str]
    months: frozenset[str]

    def has(self, name: str, month: str) -> bool:
        """Return whether a file of the table is in this part."""
        source = source_of(name)
        return month in self.months if source is None else source in self.sources


def copy_name(source: str, digest: str) -> str:
    """Return the name of the copy of a source whose bytes have a digest, in hexadecimal digits."""
    return f"{source.removesuffix('.parquet')}-{digest[:_DIGITS]}.parquet"


def source_of(name: str) -> str | None:
    """Return the source that a file of a table is a copy of, None for a file of compaction."""
    match = _COPY.fullmatch(name)
    return None if match is None else f"{match[1]}.parquet"


def month_of(name: str) -> str:
    """Return the month in a name or path, such as ``2026-05``; empty where there is none."""
    match = _MONTH.match(name)
    return "" if match is None else match[1]


def scope_of(
    files: Mapping[str, str], sources: Collection[str], changed: Collection[str] | None
) -> Scope:
    """Return what a commit replaces.

    ``files`` are those of the table with their months, ``sources`` those that exist now, and
    ``changed`` those that were replaced or deleted since the last commit; None if that is unknown.
    """
    known = frozenset(sources) | {source for name in files if (source := source_of(name))}
    compacted = frozenset(month for name, month in files.items() if source_of(name) is None)
    touched = known if changed is None else known.intersection(changed)
    # A file of compaction of no single month may hold rows of any source.
    if changed is None or (changed and "" in compacted):
        return Scope(known, compacted)
    # Of a source that is gone the rows may be in a file of compaction alone.
    months = compacted.intersection(map(month_of, changed))
    return Scope(touched | {source for source in known if month_of(source) in months}, months)


def removed(files: Mapping[str, str], scope: Scope, copies: Collection[str]) -> list[str]:
    """Return the files of a table that are replaced by ``copies``, the names of the new ones."""
    return sorted(
        name for name, month in files.items() if scope.has(name, month) and name not in copies
    )
