"""What a dataset is: one endpoint of the datacube API, described as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from harvester.core.calendar import FIRST_DAY, Day

_PAGES = "https://developers.weixin.qq.com/doc/service/api/wedata"

FINAL_IF_EMPTY = 3
"""Days a period must be older than for an empty answer to be final, if settling is no longer."""


DATE_COLUMN = "ref_date"
"""The column every row is filed under. Each dataset's key begins with it."""


class Kind(Enum):
    """The type of a column, by what WeChat sends for it."""

    COUNT = "int64"
    """A JSON integer, never negative. Codes of open enums are stored as they come."""
    RATE = "float64"
    """A JSON number."""
    TEXT = "string"
    """A JSON string, stored as it comes."""
    HOUR = "int32"
    """``ref_hour``: 0 to 23 in the files, ``hour * 100`` or plain hours on the wire."""
    DATE = "date32"
    """A Beijing day, ``2024-01-31`` on the wire."""
    LIST = "list<struct>"
    """A JSON array of objects, whose members are the column's ``fields``."""


class Grain(Enum):
    """What one row of a dataset sums up. A week begins on Monday, a month on its first day."""

    DAY = "day"
    HOUR = "hour"
    WEEK = "week"
    MONTH = "month"


class Nesting(Enum):
    """Where the metrics of a row are in an element of the answer's ``list``."""

    FLAT = "flat"
    """The element is the row."""
    OBJECT = "object"
    """The element's member ``inside`` is an object that holds them: one row per element."""
    ARRAY = "array"
    """Its member ``inside`` is an array: one row per entry, the element's own members repeated."""


@dataclass(frozen=True, slots=True)
class Column:
    """One member of a row: WeChat's own name, what it means, and its unit.

    ``inner`` says that it stands inside of the nested member. ``promised`` is False for members
    that come undocumented or only now and then: without them nothing is amiss. ``labels`` are the
    known values of an open enum, ``fields`` the members of a LIST.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    nested: bool = False
    required: bool = True
    labels: Mapping[int, str] | Mapping[str, str] = field(default_factory=dict, hash=False)
    fields: tuple[Column, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """One endpoint as a table, with where its facts come from.

    ``span`` is the most days one request may ask, both ends included. ``ready_minutes`` is how long
    after midnight of the Beijing day that follows a period it may be asked. ``settle`` is how many
    days old a period must be before an answer with rows is final. ``key`` names the columns that,
    with ``appid``, are unique; ``columns`` are what WeChat sends, in the order of the file.
    ``pages`` is the folder of its family in WeChat's documentation, read on the day ``checked``.
    ``delays`` says that an answer may be marked ``is_delay``. ``sparse`` says that days
    without rows are ordinary, also between days with some: nothing was published, or nobody read
    it. ``notes`` say what misleads people who add its numbers up, ``example`` is a query for DuckDB
    over its files.
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
    notes: tuple[str, ...] = ()
    example: str = ""

    @property
    def api(self) -> str:
        """WeChat's name of the endpoint, such as ``getinterfacesummary``."""
        return f"get{self.name.replace('_', '')}"

    @property
    def path(self) -> str:
        """The path of the endpoint below the API's address."""
        return f"/datacube/{self.api}"

    @property
    def source(self) -> str:
        """The address of WeChat's page about the endpoint."""
        return f"{_PAGES}/{self.pages}/api_{self.api}.html"
