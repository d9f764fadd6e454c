"""Files of the user that options name, such as ``--summary``: each gets a text made of the record.

A file is replaced whole, so a wrong path costs what is there: it is checked and written once before
the first request.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harvester.core.errors import StoreError, UsageError
from harvester.runs.record.record import Record
from harvester.storage.backends import user_file
from harvester.storage.state import run_records


class UserFile(NamedTuple):
    """The file that an ``option`` of the command line names.

    ``text`` makes its content of a record and of the members of that record for JSON; None leaves
    the content as it is. All users of the machine can read a file that ``is_public``.
    """

    option: str
    path: Path
    text: Callable[[Record, Mapping[str, Any]], bytes | None]
    is_public: bool = False

    def write(self, record: Record, members: Mapping[str, Any]) -> None:
        """Replace the content. Raises StoreError."""
        data, is_public = self.text(record, members), self.is_public
        user_file.write(self.path, data, is_final=record.finished, is_public=is_public)

    def begin(self, record: Record, members: Mapping[str, Any]) -> None:
        """Write the file before the first request. Raises UsageError if that cannot be done."""
        try:
            self.write(record, members)
            is_refused = self.path.exists() and not os.access(self.path, os.W_OK)
        except StoreError as error:
            raise UsageError(f"{self.option} {error.problem}", error.advice) from None
        if is_refused:
            what = f"{self.option} {self.path}: this user may not write there"
            raise UsageError(what, f"name another file with {self.option}")


def json_text(_: Record, members: Mapping[str, Any]) -> bytes:
    """Return the content of ``--summary``: the record itself."""
    return run_records.text(members)
