"""Harvest WeChat Official Account statistics into partitioned Parquet.

The functions and types of the Python API are loaded when they are first used; `docs/python.md`
describes them. The stub beside this file has their names, each with the module to load.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Without it Python prints warnings of a library whose program has set up no logging.
logging.getLogger("harvester").addHandler(logging.NullHandler())


@cache
def _homes() -> dict[str, str]:
    """Return the module of each public name, as the stub has it."""
    # Loaded only now, because the command asks for no public name.
    import ast  # noqa: PLC0415 - as the line above says
    import pkgutil  # noqa: PLC0415 - as the line above says

    stub = ast.parse(pkgutil.get_data(__name__, "__init__.pyi") or b"")
    imports = (node for node in stub.body if isinstance(node, ast.ImportFrom))
    return {each.name: str(node.module) for node in imports for each in node.names}


def __getattr__(name: str) -> Any:
    """Load the module of a public name when it is first used."""
    if name == "__all__":
        return ["__version__", *_homes()]
    if name not in _homes():
        raise AttributeError(f"module 'harvester' has no attribute {name!r}")
    return getattr(import_module(_homes()[name]), name)


def __dir__() -> list[str]:
    return sorted(["__version__", *_homes()])
