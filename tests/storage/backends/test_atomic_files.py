from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from harvester.core.errors import StoreError
from harvester.storage.backends import atomic_files, flock


def test_a_file_is_whole_and_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes are flushed before the rename, and every new folder and the name after it."""
    temp, final = tmp_path / "tmp" / "x.tmp", tmp_path / "a" / "b" / "x"
    seen: list[tuple[str, bool]] = []

    def sync(path: Path) -> None:
        seen.append((path.relative_to(tmp_path).as_posix(), final.exists()))

    monkeypatch.setattr(atomic_files, "sync", sync)
    with flock.in_progress(temp) as descriptor:
        atomic_files.write(temp, descriptor, final, b"data")
    assert seen == [
        (".", False),
        ("tmp/x.tmp", False),
        (".", False),
        ("a", False),
        ("a/b", True),
    ]
    assert final.read_bytes() == b"data"
    assert not temp.exists()


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the flush fails, nothing has the final name, and the temporary file is gone."""

    def sync(path: Path) -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(atomic_files, "sync", sync)
    with (
        flock.in_progress(tmp_path / "x.tmp") as descriptor,
        pytest.raises(StoreError, match="Input/output error"),
    ):
        atomic_files.write(tmp_path / "x.tmp", descriptor, tmp_path / "x", b"data")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    """A run that removes empty folders does not disturb a write into one."""
    temp, final = tmp_path / "x.tmp", tmp_path / "run" / "x"
    temp.write_bytes(b"data")
    tries: list[Path] = []

    class Disturbed(type(temp)):  # type: ignore[misc]
        def replace(self, target: Path) -> Path:
            tries.append(target)
            if len(tries) == 1:
                target.parent.rmdir()
            os.replace(self, target)  # noqa: PTH105
            return target

    atomic_files.replace_durably(Disturbed(temp), final)
    assert final.read_bytes() == b"data"
    assert len(tries) == 2


def test_the_error_of_a_full_disk_has_the_free_bytes(tmp_path: Path) -> None:
    """The message of a full disk names the path and the bytes that are free."""
    path = tmp_path / "part.tmp"
    path.symlink_to("/dev/full")
    with pytest.raises(StoreError) as caught, atomic_files.os_errors_as_store_errors(path):
        path.write_bytes(b"x")
    assert caught.value.problem == f"{path}: No space left on device"
    assert " bytes free" in caught.value.advice


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EMFILE, errno.EIO, errno.EDQUOT])
def test_every_store_error_has_advice(code: int) -> None:
    """Whatever the system refuses, the error names the path and a remedy."""
    error = atomic_files.store_error(Path("/somewhere/x"), OSError(code, "words"))
    assert error.problem.startswith("/somewhere/x: ")
    assert error.advice


def test_unlink_quietly_never_fails(tmp_path: Path) -> None:
    """Cleaning up after a failure does not hide the failure."""
    atomic_files.unlink_quietly(tmp_path / "nothing")
    atomic_files.unlink_quietly(tmp_path)
