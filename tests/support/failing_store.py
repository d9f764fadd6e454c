"""A store that fails at the call whose number a test chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from harvester.core.errors import StoreError
from harvester.storage.backends.base import Store

# Taken from the interface, so that a renamed method cannot drop out of the test.
TALKS = {name for name in vars(Store) if not name.startswith("_")} - {"scratch", "display_path"}


@dataclass
class FailingStore:
    """A store that passes every call on to ``store`` and fails at call number ``at``.

    With ``forever`` all later calls fail, too. With ``late`` the failing call is carried out, and
    only its answer is lost.
    """

    store: Store
    at: int
    forever: bool
    late: bool
    calls: int = 0

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the store; operations are wrapped to count and to fail."""
        operation = getattr(self.store, name)
        return self._failing(operation) if name in TALKS else operation

    def _failing(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.calls += 1
            fails = self.calls == self.at or (self.forever and self.calls > self.at)
            if fails and not self.late:
                raise StoreError("the store went away", "wait")
            answer = operation(*args, **options)
            if fails:
                raise StoreError("the answer of the store got lost", "wait")
            return answer

        return call


def failing_store(store: Store, at: int, *, forever: bool = False, late: bool = False) -> Store:
    """Return a store that fails at call number ``at``: see `FailingStore`."""
    return cast("Store", FailingStore(store, at, forever, late))
