"""A reader of text files that accepts printable UTF-8 up to a size and explains every refusal."""

from __future__ import annotations

import re
from pathlib import Path

from harvester.core.errors import InvalidValue

MAX_BYTES = 16 * 1024 * 1024
"""Maximum size of a manifest or an accounts file."""

SAVE = "save it as UTF-8 text"
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
MISSING = "does not exist"
_BOM = b"\xef\xbb\xbf"
# The complement of what YAML calls printable, as what it is: a tenth of the time to compile. The
# byte order mark belongs to it, because it may only stand at the beginning.
_UNPRINTABLE = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]"
)


class Unreadable(InvalidValue):
    """A file that is no valid text. ``what`` continues a sentence: "does not exist".

    ``line`` is 0 if the whole file is meant.
    """

    def __init__(self, what: str, hint: str, *, line: int = 0, column: int = 1) -> None:
        super().__init__(what, hint)
        self.line = line
        self.column = column


def read_text(file: Path, *, largest: int = MAX_BYTES) -> str:
    """Return the text of a file without its byte order mark. Raises Unreadable."""
    data = read_bytes(file, largest=largest).removeprefix(_BOM)
    if data.startswith((_ZIP, _OLE)):
        raise Unreadable("is an Excel workbook or archive, not text", SAVE)
    # Broken bytes become lone surrogates, which the same search finds.
    text = data.decode(errors="surrogateescape")
    if bad := _UNPRINTABLE.search(text):
        before = text[: bad.start()]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        if "\udc80" <= bad[0] <= "\udcff":  # a byte that is no UTF-8
            raise Unreadable("is not UTF-8 text", SAVE, line=line, column=column)
        what = f"holds U+{ord(bad[0]):04X}, which is no character of a text"
        raise Unreadable(what, "remove it", line=line, column=column)
    return text


def read_bytes(file: Path, *, largest: int = MAX_BYTES) -> bytes:
    """Return the contents of a file. Raises Unreadable."""
    try:
        with file.open("rb") as stream:
            # One byte more, to tell a file of just this size from a longer one.
            data = stream.read(largest + 1)
    except FileNotFoundError:
        raise Unreadable(MISSING, "correct the path") from None
    except IsADirectoryError:
        raise Unreadable("is a directory", "name a file in it") from None
    except (OSError, ValueError) as error:
        what = f"cannot be read: {getattr(error, 'strerror', None) or 'not a path'}"
        raise Unreadable(what, "correct its path or its permissions") from None
    if len(data) > largest:
        size = f"{largest // 1024} KiB" if largest < 1024**2 else f"{largest // 1024**2} MiB"
        raise Unreadable(f"is larger than {size}", "split it, or name another file")
    return data
