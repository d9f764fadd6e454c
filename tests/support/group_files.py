"""Raw groups as files: made with any index, and read without a check."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harvester.storage import raw_log


def group_bytes(index: Any, batches: Iterable[bytes]) -> bytes:
    """Return the contents of a group with this index, which is JSON if it is no text."""
    text = (index if isinstance(index, str) else json.dumps(index)).encode()
    end = raw_log._END.pack(len(text), zlib.crc32(text), raw_log._MARK)
    return b"".join((*batches, text, end))


def taken_apart(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Return the index of a group and its batches, as they are in the file."""
    end = len(data) - raw_log._END.size
    length, _, _ = raw_log._END.unpack(data[end:])
    index = json.loads(data[end - length : end])
    batches, at = [], 0
    for _, _, size, *_ in index["batches"]:
        batches.append(data[at : at + size])
        at += size
    return index, batches


def reindexed(path: Path, **changes: Any) -> None:
    """Change what a group says of itself."""
    index, batches = taken_apart(path.read_bytes())
    path.write_bytes(group_bytes(index | changes, batches))


def texts_in(data: bytes) -> list[bytes]:
    """Return what a group has in clear: its index, and the answers of each batch."""
    index, batches = taken_apart(data)
    plain = [
        raw_log._LZ4.decompress(batch, size, asbytes=True)
        for batch, (_, _, _, size, _) in zip(batches, index["batches"], strict=True)
    ]
    return [repr(index).encode(), *plain]
