"""Functions of `pyarrow.compute` by name, loaded when the first of them is used.

pyarrow wraps each of its 300 functions at import: 5% of the start of a command that uses none.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    import pyarrow.compute  # noqa: PLC0415 - as the docstring says

    function = globals()[name] = getattr(pyarrow.compute, name)
    return function
