"""Formats of tables: each writer is loaded when it is first used, because it needs an extra."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from harvester.core.calendar import Clock
from harvester.core.errors import HarvesterError
from harvester.storage.backends.base import Store
from harvester.verbs.lakehouse.tables import Lakehouse


@dataclass(frozen=True, slots=True)
class Lake:
    """The place of tables: ``files`` is the store at ``place``.

    ``catalog`` and ``warehouse`` are as the format takes them, and ``schema`` is the namespace of
    the tables. ``labels`` are the buckets of the output as in names.
    """

    files: Store
    place: Path | str
    labels: Collection[str]
    catalog: str | None
    warehouse: str | None
    schema: str
    now: Clock

    def address(self, name: str) -> str:
        """Return the path or URI of a file or folder."""
        return f"{self.place}/{name}"


def opened(name: str, lake: Lake) -> Lakehouse:
    """Return the writer of a format. Raises HarvesterError if its library is not installed."""
    try:
        module = import_module(f"harvester.verbs.lakehouse.{name}")
    except ModuleNotFoundError as error:
        missing = str(error.name)
        raise HarvesterError(f"{missing} is not installed", f"pip install {missing}") from None
    tables: Lakehouse = module.Tables(lake)
    return tables
