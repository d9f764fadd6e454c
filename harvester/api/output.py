"""Readers of an output: Arrow, DuckDB, Polars, coverage, runs and changes."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Output", "open"]


@dataclass(frozen=True, slots=True)
class Output:
    """An output that is read without its manifest and without secrets."""

    place: str


def open(output: str | os.PathLike[str]) -> Output:
    """Open an output: a folder, or ``s3://…``, ``gs://…``, ``az://…``."""
    return Output(os.fspath(output))
