"""A value that must not be shown: an AppSecret or a token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn, final

from harvester.core.text.redaction import conceal
from harvester.core.text.secret_words import MASK


@final
class Secret:
    """A secret text that prints, logs and formats as ``***``.

    Secrets compare equal by value and can be dictionary keys. Copying, pickling and JSON
    serialisation raise TypeError, so that no library can take the value out of the process. The
    class is no dataclass, because serialisers read the fields of those. Making a secret enters its
    value into the record of the run, so that `redaction.masked` masks it in every text; if
    ``parts`` are given, these alone, as of an address whose host is public.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str, parts: Iterable[str] | None = None) -> None:
        self._value = value
        for part in (value,) if parts is None else parts:
            conceal(part)

    def reveal(self) -> str:
        """Return the value itself, for the request that sends it."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret is not copied, pickled or serialised")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__getstate__()
