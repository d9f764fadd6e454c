"""A value that must never be seen: an AppSecret or a token."""

from __future__ import annotations

from typing import NoReturn, final

from harvester.core.redaction import conceal
from harvester.core.secret_words import MASK


@final
class Secret:
    """Holds a secret text and shows ``***`` wherever somebody prints, logs or formats it.

    It can be compared and be a dictionary key. It refuses to be copied, pickled or turned into
    JSON, so that no library can carry the value out of the process unasked. It is no dataclass on
    purpose: serialisers look into those. Once made, its value is masked in every text that passes
    `redaction.redacted`, whoever writes it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        conceal(value)

    def reveal(self) -> str:
        """The value itself, for the one place that puts it on the wire."""
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
