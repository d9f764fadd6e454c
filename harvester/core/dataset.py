"""A dataset: one endpoint of the datacube API, described as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from harvester.core.calendar import FIRST_DAY, Day

PAGES = "https://developers.weixin.qq.com/doc/service/api/wedata"
"""Address of WeChat's documentation of the datacube API; each family has a folder below it."""


DATE_COLUMN = "ref_date"
"""Name of the column with the day of a row. The key of every dataset begins with it."""


class Kind(Enum):
    """The type of a column, by the value that WeChat sends."""

    COUNT = "int64"
    """A JSON integer, never negative. Codes of open enums are stored unchanged."""
    RATE = "float64"
    """A JSON number."""
    TEXT = "string"
    """A JSON string, stored unchanged."""
    HOUR = "int32"
    """``ref_hour``: 0 to 23 in the files, ``hour * 100`` or plain hours in answers."""
    DATE = "date32"
    """A Beijing day, ``2024-01-31`` in answers."""
    LIST = "list<struct>"
    """A JSON array of objects, whose members are the column's ``fields``."""


class Grain(Enum):
    """The period of one row. A week begins on Monday, a month on its first day."""

    DAY = "day"
    HOUR = "hour"
    WEEK = "week"
    MONTH = "month"


class Nesting(Enum):
    """The place of a row's metrics in an element of the answer's list."""

    FLAT = "flat"
    """The element is the row."""
    OBJECT = "object"
    """The element's member ``nested_field`` is an object with the metrics: one row per element."""
    ARRAY = "array"
    """The member ``nested_field`` is an array: one row per entry, other members repeated."""


class Refresh(NamedTuple):
    """Ages at which a provisional day is asked again, in Beijing days.

    ``rows`` are those of a day with rows, counted from the day, until it is settled. ``empty`` are
    those of a day without rows, counted from its first answer: after the last one it is final.
    """

    rows: tuple[int, ...] = (1, 2, 3, 7)
    empty: tuple[int, ...] = (1, 3, 7, 14, 28)

    @property
    def thin(self) -> tuple[int, ...]:
        """The first, the middle and the last age of ``empty``."""
        return self.empty[0], self.empty[len(self.empty) // 2], self.empty[-1]

    @property
    def last(self) -> int:
        """The age after which no day is asked any more."""
        return max(self.rows[-1], self.empty[-1])


_REFRESH = Refresh()


class Guide(NamedTuple):
    """Table that tells whether another one has rows of a day: those on which a count is above 0.

    If it ``is_exact``, the other table splits up what is counted. Its silence ``spares`` the second
    question about an empty day.
    """

    dataset: str
    column: str
    is_exact: bool = True
    spares: bool = True


@dataclass(frozen=True, slots=True)
class Column:
    """One member of a row: WeChat's own name, its meaning and its unit.

    ``nested`` is True for a member of the nested field. ``required`` is False for an undocumented
    or occasional member, which is not reported as missing. ``labels`` are the known values of an
    open enum, ``fields`` the members of a LIST. ``is_total`` is True for a count that starts on the
    first day of an article and never falls. ``maximum`` is the documented maximum. Neither is
    enforced: a run reports values that contradict them.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    nested: bool = False
    required: bool = True
    labels: Mapping[int, str] | Mapping[str, str] = field(default_factory=dict, hash=False)
    fields: tuple[Column, ...] = ()
    is_total: bool = False
    maximum: float | None = None


def api_of(name: str) -> str:
    """Return WeChat's name of the endpoint of a dataset."""
    return f"get{name.replace('_', '')}"


REF_DATE = Column(DATE_COLUMN, Kind.DATE, "the Beijing day the row sums up")
REF_HOUR = Column("ref_hour", Kind.HOUR, "the hour the row sums up", "0 to 23, Beijing time")
"""Columns that several families have."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """One endpoint as a table, with the sources of its facts.

    ``span`` is the maximum number of days of one request, both ends included. ``ready_minutes`` is
    the time after midnight, on the Beijing day after a period, from which the period may be asked.
    ``settle`` is the age in days that a period must exceed before an answer with rows is final.
    ``key`` names the columns that are unique together with the appid. ``columns`` has WeChat's
    columns in the order of the file. ``pages`` is the folder of the family in WeChat's
    documentation, which was read on the day ``checked``. ``may_be_delayed`` is True if an answer
    may have the mark ``"is_delay"``. ``sparse`` is True if days without rows are ordinary,
    also between days with rows, because nothing was published or read. ``gapless`` is True if an
    account that exists has a row for every day. ``guide`` tells of the days with rows, and
    ``counts`` names the columns, three at most, that tell so of other datasets. ``notes`` warn of
    wrong ways to add up the numbers.
    """

    name: str
    span: int
    grain: Grain
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    description: str
    family: str
    permission: int
    pages: str
    checked: str
    first_day: Day = FIRST_DAY
    ready_minutes: int = 10 * 60
    settle: int = 0
    nesting: Nesting = Nesting.FLAT
    nested_field: str = ""
    may_be_delayed: bool = False
    sparse: bool = False
    gapless: bool = False
    guide: Guide | None = None
    counts: tuple[str, ...] = ()
    refresh: Refresh = _REFRESH
    notes: tuple[str, ...] = ()

    @property
    def api(self) -> str:
        """WeChat's name of the endpoint, such as ``getinterfacesummary``."""
        return api_of(self.name)

    @property
    def last_age(self) -> int:
        """The age at which an answer with rows settles a day at the latest."""
        return max(self.refresh.last, self.settle)

    @property
    def path(self) -> str:
        """The path of the endpoint below the API's address."""
        return f"/datacube/{self.api}"

    @property
    def source(self) -> str:
        """The address of WeChat's page about the endpoint."""
        return f"{PAGES}/{self.pages}/api_{self.api}.html"
