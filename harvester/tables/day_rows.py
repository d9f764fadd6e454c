"""Value types that the decoders return and that merging consumes: rows of a day, and oddities."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from harvester.core.calendar import Day
from harvester.core.model import OddityKind, RowlessElement

Rows_co = TypeVar("Rows_co", covariant=True)


class DayRows(NamedTuple):
    """The rows of one account and day as Python lists, sorted by the dataset's key.

    ``columns`` has a list for each column of the dataset except its date, which is the day.
    ``extra`` has the undeclared members of each row as JSON. The rows are the slice from ``start``
    to ``stop`` of these lists, because all days of an answer share them. A rate may be an integer
    that a double holds exactly. An element of a LIST is a dictionary with exactly its fields.
    """

    columns: tuple[list[Any], ...]
    extra: list[str | None]
    start: int
    stop: int


class Oddity(NamedTuple):
    """One oddity. Only the first one of a kind and name is kept, with the value that it had."""

    kind: OddityKind
    name: str
    value: str = ""


class DecodeResult(NamedTuple, Generic[Rows_co]):
    """The content of one answer.

    ``days`` has the rows of each day that has any, as `DayRows` or as a slice in Arrow.
    ``quarantined`` has a reason for each day whose rows are not usable. ``unknown`` has the paths
    of undeclared members, such as ``detail.read_user``, and ``missing`` those of required members
    without a value. ``delayed`` is True if the answer settles no day, because WeChat marked it as
    incomplete, or in a way that is not known. ``without_rows`` has the elements that have no row
    because their nested array is empty or not there. ``doubtful`` is True if something contradicts
    the answer: its open days stay provisional until their last age, and it is no witness of an
    empty day.
    """

    days: Mapping[Day, Rows_co]
    quarantined: dict[Day, str]
    unknown: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    delayed: bool = False
    oddities: tuple[Oddity, ...] = ()
    without_rows: tuple[RowlessElement, ...] = ()
    doubtful: bool = False

    @property
    def incomplete(self) -> AbstractSet[Day]:
        """The days with rows of a doubtful answer."""
        return self.days.keys() if self.doubtful else frozenset()


Decoded: TypeAlias = DecodeResult[DayRows]
