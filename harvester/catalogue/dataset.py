"""What a dataset is: one endpoint of the datacube API, described as a table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from harvester.days import Day


class Kind(Enum):
    """The type of a column, by what WeChat sends for it."""

    COUNT = "int64"
    """A JSON integer, never negative."""
    HOUR = "int32"
    """``ref_hour``: 0 to 23 in the files, ``hour * 100`` or plain hours on the wire."""
    DATE = "date32"
    """A Beijing day, ``2024-01-31`` on the wire."""


class Grain(Enum):
    """What one row of a dataset sums up."""

    DAY = "day"
    HOUR = "hour"


@dataclass(frozen=True, slots=True)
class Column:
    """One member of a row: WeChat's own name, what it means, and its unit."""

    name: str
    kind: Kind
    meaning: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """One endpoint as a table, with where its facts come from.

    ``span`` is the most days one request may ask, both ends included. ``ready_minutes`` is how long
    after midnight of the next Beijing day a day may be asked. ``settle`` is how many days old a day
    must be before an answer with rows is final. ``key`` names the columns that, with ``appid``, are
    unique; ``columns`` are what WeChat sends, in the order of the file.
    """

    name: str
    path: str
    span: int
    first_day: Day
    grain: Grain
    ready_minutes: int
    settle: int
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    family: str
    permission: int
    about: str
    source: str
    checked: str

    @property
    def api(self) -> str:
        """WeChat's name of the endpoint, such as ``getinterfacesummary``."""
        return self.path.rpartition("/")[2]
