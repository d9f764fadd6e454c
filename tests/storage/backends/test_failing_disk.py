"""A disk that fails at its Nth call, once or for ever: a sentence, and the next run mends it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.core.errors import StoreError
from tests.storage.backends.test_power_cut import harvested, live
from tests.support.nights import by_night
from tests.support.output_helpers import tree_at

CALLS = ("fsync", "replace", "mkdir", "unlink", "rmdir", "open", "scandir", "ftruncate")


def fail(patch: pytest.MonkeyPatch, root: Path, at: int, *, code: int, for_ever: bool) -> list[str]:
    """Let the Nth call below ``root`` fail, and all later ones too if ``for_ever``."""
    seen: list[str] = []

    def hook(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def failing(path: Any, *args: Any, **options: Any) -> Any:
            place = Path(f"/proc/self/fd/{path}").readlink() if isinstance(path, int) else path
            if Path(place).is_relative_to(root):
                seen.append(f"{name} {place}")
                if len(seen) == at or (for_ever and len(seen) > at):
                    raise OSError(code, os.strerror(code), str(place))
            return real(path, *args, **options)

        return failing

    for name in CALLS:
        patch.setattr(os, name, hook(name))
    return seen


def failure_of(root: Path) -> StoreError | None:
    """The error that a life ends with, if any."""
    try:
        live(tree_at(root))
    except StoreError as error:
        return error
    return None


def attempts(tmp_path: Path, code: int, step: int, *, for_ever: bool) -> Iterator[tuple[int, Path]]:
    """One life for each call that can fail, or each few, until a life makes fewer calls."""
    at = 0
    while True:
        at += step
        root = tmp_path / f"{code}-{for_ever}-{at}"
        with pytest.MonkeyPatch.context() as patch:
            seen = fail(patch, root, at, code=code, for_ever=for_ever)
            error = failure_of(root)
        if error is None:
            # What fails unheard is tidying up: folders, and temporary files that have moved on.
            assert len(seen) < at or seen[at - 1].startswith(
                ("rmdir", f"unlink {root}/_harvester/tmp")
            )
        else:
            assert str(root) in error.problem
            assert error.advice
        yield at, root
        if len(seen) < at:
            return


CASES = [
    pytest.param(errno.EIO, False, 4, id="an error, once"),
    pytest.param(errno.EROFS, True, 5, id="read-only from then on"),
    *by_night(
        [
            (errno.EIO, False, 1),
            (errno.EROFS, True, 1),
            (errno.ENOSPC, False, 1),
            (errno.ENOSPC, True, 1),
            (errno.EIO, True, 1),
        ]
    ),
]


@pytest.mark.parametrize(("code", "for_ever", "step"), CASES)
def test_whichever_call_fails_the_next_run_ends_exact(
    tmp_path: Path, code: int, step: int, *, for_ever: bool
) -> None:
    """An error of the medium, a full disk, one that became read-only: at any call there is."""
    whole = tree_at(tmp_path / "whole")
    live(whole)
    want = harvested(whole)
    at = 0
    for at, root in attempts(tmp_path, code, step, for_ever=for_ever):
        tree = tree_at(root)
        live(tree)
        assert harvested(tree) == want, f"failed at call {at}"
        assert not tree.store.list("_harvester/raw")
        assert not tree.store.list("_harvester/tmp")
    assert at > 30
