"""The system refuses memory at one call of harvester into Arrow, orjson or the store."""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import Any, TypeAlias

from tests.support.import_graph import MODULES

Line: TypeAlias = tuple[str, int]
"""A file and the number of a line in it."""

_LIBRARIES = {"pa", "pq", "pc", "ds", "orjson", "obstore"}


@cache
def planted_lines() -> frozenset[Line]:
    """Return the lines of harvester with a call into one of the three; not those of the sandbox."""
    modules = (module for module in MODULES if module.room != "emulator")
    return frozenset(
        (str(module.path), node.lineno)
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and _takes_memory(node.func)
    )


def _takes_memory(called: ast.expr) -> bool:
    names = []
    while isinstance(called, ast.Attribute):
        names.append(called.attr)
        called = called.value
    root = called.id if isinstance(called, ast.Name) else ""
    return root in _LIBRARIES or "store" in [root, *names[1:]]


class Refusal:
    """Counts the executions of lines; the ``number``-th of ``line`` raises MemoryError."""

    def __init__(self, line: Line | None = None, number: int = 1) -> None:
        self.executed = dict[Line, int]()
        self.line, self.number = line, number

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Watch every thread that starts in the block, and this one."""
        former = sys.gettrace()
        threading.settrace(self._enter)
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(former)
            threading.settrace(former)

    def _enter(self, frame: FrameType, *_: object) -> Any:
        return self._step if frame.f_code.co_filename in _files() else None

    def _step(self, frame: FrameType, event: str, _: object) -> Any:
        here = (frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and here in planted_lines():
            count = self.executed[here] = self.executed.get(here, 0) + 1
            if here == self.line and count == self.number:
                raise MemoryError
        return self._step


@cache
def _files() -> frozenset[str]:
    return frozenset(file for file, _ in planted_lines())
