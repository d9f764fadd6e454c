"""Lack of memory and of descriptors: a message and an exit code, and no traceback."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from harvester.core import shortage as memory
from harvester.core.errors import StoreError
from harvester.storage import footer, raw_log
from harvester.storage.backends import atomic_files

MANIFEST = """
api: {base_url: sandbox}
accounts: [{appid: wx0000000000000001}]
jobs: [{datasets: [interface_summary], begin_date: -9d}]
"""


@pytest.mark.parametrize(
    ("verb", "megabytes", "code", "message"),
    [
        ("run", 250, 2, "this process may use 238 MiB of address space, and a run needs 640 MiB"),
        # With less than 65 Python itself may die before it can say why.
        ("run", 75, 2, "this process may use 71 MiB of address space, and a run needs 640 MiB"),
        ("plan", 75, 75, "the system refused memory to this process"),
        ("status", 75, 75, "the system refused memory to this process"),
    ],
)
def test_a_limit_of_address_space_ends_with_a_message(
    tmp_path: Path, verb: str, megabytes: int, code: int, message: str
) -> None:
    """Before a request if a run has too little of it, and else where it is refused."""
    (tmp_path / "jobs.yaml").write_text(MANIFEST)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes * 10**6, megabytes * 10**6))

    command = [sys.executable, "-m", "harvester", verb, "jobs.yaml"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, preexec_fn=limit
    )
    assert done.returncode == code
    assert f"error: {message}" in done.stderr
    assert "ulimit -v" in done.stderr
    assert "Traceback" not in done.stderr
    assert "a bug in harvester" not in done.stderr


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        pa.ArrowMemoryError("malloc of size 64 failed"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError(errno.EMFILE, "Too many open files"),
        RuntimeError("can't start new thread"),
        ExceptionGroup("tasks", [ValueError("x"), MemoryError()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lack_of_memory_is_told_from_a_bug(error: Exception) -> None:
    """Also inside of a group, or as the cause of another error."""
    assert memory.shortage(error) is not None
    outer = StoreError("x")
    outer.__cause__ = error
    assert memory.shortage(outer) is not None
    error.__context__ = outer
    assert memory.shortage(outer) is not None


@pytest.mark.parametrize(
    "failed",
    [
        SystemError("error return without exception set"),
        ImportError("libarrow.so: failed to map segment from shared object"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_fails_without_a_reason_under_a_low_limit_lacked_memory(
    failed: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled code and the loader of libraries have no type of error for it."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (60 << 20, 60 << 20))
    assert memory.shortage(failed) is not None
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert memory.shortage(failed) is None


@pytest.mark.parametrize("error", [ValueError("x"), OSError(errno.EIO, "x"), RuntimeError("y")])
def test_a_bug_stays_a_bug(error: Exception) -> None:
    """Other errors are reported with their place, also if they were raised while they were met."""
    error.__context__ = ValueError("y")
    error.__context__.__context__ = error
    assert memory.shortage(error) is None


@pytest.mark.parametrize(
    "error",
    [pa.ArrowMemoryError("malloc failed"), OSError("ZSTD: Allocation error : not enough memory")],
)
def test_a_file_is_not_damaged_because_memory_is_short(error: Exception, tmp_path: Path) -> None:
    """Neither a raw group nor a data file is moved to quarantine then."""
    with pytest.raises(MemoryError), raw_log._errors_as_damage(tmp_path):
        raise error
    with pytest.raises(MemoryError), footer.parquet_errors_as_store_errors("x"):
        raise error


def test_other_errors_of_a_codec_are_damage(tmp_path: Path) -> None:
    """An error without a number and without a word of memory, or a length that is absurd."""
    with pytest.raises(raw_log.DamagedGroup), raw_log._errors_as_damage(tmp_path):
        raise pa.ArrowMemoryError("malloc of size 4785074604081216 failed")
    with pytest.raises(raw_log.DamagedGroup), raw_log._errors_as_damage(tmp_path):
        raise OSError("Corrupt snappy compressed data")
    atomic_files.refuse_shortage(OSError(errno.EIO, "not enough memory"))
