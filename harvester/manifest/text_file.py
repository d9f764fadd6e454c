"""A reader of text files that accepts printable UTF-8 up to a size and explains every refusal."""

from __future__ import annotations

import re
from pathlib import Path

MAX_BYTES = 16 * 1024 * 1024
"""Maximum size of a manifest or an accounts file."""

_BOM = b"\xef\xbb\xbf"
# The complement of what YAML calls printable. The byte order mark belongs to it, because it may
# only stand at the beginning.
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


class Unreadable(Exception):
    """A file that is no valid text. ``what`` continues a sentence: "does not exist".

    ``line`` is 0 if the whole file is meant.
    """

    def __init__(self, what: str, hint: str = "", *, line: int = 0, column: int = 1) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.line = line
        self.column = column


def read_text(file: Path, *, largest: int = MAX_BYTES) -> str:
    """Return the text of a file without its byte order mark. Raises Unreadable."""
    data = _read_bytes(file, largest).removeprefix(_BOM)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("is not UTF-8 text but UTF-16", "save it as UTF-8")
    text = data.decode(errors="surrogateescape")
    if bad := _UNPRINTABLE.search(text):
        line, column = _position(text[: bad.start()])
        if "\udc80" <= bad[0] <= "\udcff":  # a byte that is no UTF-8
            raise Unreadable("is not UTF-8 text", "save it as UTF-8", line=line, column=column)
        what = f"holds U+{ord(bad[0]):04X}, which is no character of a text"
        raise Unreadable(what, line=line, column=column)
    return text


def _read_bytes(file: Path, largest: int) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(largest + 1)
    except FileNotFoundError:
        raise Unreadable("does not exist") from None
    except IsADirectoryError:
        raise Unreadable("is a directory") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise Unreadable(f"cannot be read: {reason or 'not a path'}") from None
    if len(data) > largest:
        size = f"{largest // 1024} KiB" if largest < 1024**2 else f"{largest // 1024**2} MiB"
        raise Unreadable(f"is larger than {size}")
    return data


def _position(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")
