"""A store that fails at a call of a test's choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from harvester.core.errors import StoreError
from harvester.storage.backends.base import Store

# Taken from the interface, so that a renamed method cannot drop out of the test.
TALKS = {name for name in vars(Store) if not name.startswith("_")} - {"scratch", "display_path"}


@dataclass
class Failing:
    """Passes everything on to ``store``, and fails at call ``at``, once or from then on.

    ``late`` is a failure whose work was done: the answer got lost.
    """

    store: Store
    at: int
    forever: bool
    late: bool
    calls: int = 0

    def __getattr__(self, name: str) -> Any:
        """What the store does, or does not."""
        does = getattr(self.store, name)
        return self._mortal(does) if name in TALKS else does

    def _mortal(self, does: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.calls += 1
            fails = self.calls == self.at or (self.forever and self.calls > self.at)
            if fails and not self.late:
                raise StoreError("the store went away", "wait")
            answer = does(*args, **options)
            if fails:
                raise StoreError("the answer of the store got lost", "wait")
            return answer

        return call


def failing(store: Store, at: int, *, forever: bool = False, late: bool = False) -> Store:
    """A store that fails at a call."""
    return cast("Store", Failing(store, at, forever, late))
