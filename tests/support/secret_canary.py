"""Unmistakable secrets, and the search for them in everything that a run writes."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, quote_plus

import pyarrow.parquet as pq

from harvester.core.secret import Secret
from harvester.core.text import redaction
from harvester.storage import raw_log
from harvester.storage.footer import COVERAGE
from harvester.tables import coverage
from tests.support.group_files import texts_in

APPSECRET = "c4n4ry5ecret-of-an-account+/=&%7E~x"
"""An AppSecret that every kind of quoting changes; its beginning could be a request id."""

TOKEN_TAIL = "c4n4ryT0ken+/=&%7E~x"
"""The end of every token of the sandbox."""


@contextmanager
def no_secrets() -> Iterator[None]:
    """Stand outside of any run while the block lasts."""
    token = redaction._CURRENT.set(None)
    try:
        yield
    finally:
        redaction._CURRENT.reset(token)


def encodings(value: str) -> set[bytes]:
    """Return a value as encoded in text, URLs, JSON, HTML, and base64 at any offset."""
    quoted = {quote(value, safe=""), quote(value), quote_plus(value), quote(quote(value, safe=""))}
    texts = {value, repr(value)[1:-1], json.dumps(value)[1:-1], html.escape(value), *quoted}
    found = {text.encode() for text in texts}
    found |= {text.lower().encode() for text in texts}
    for text in (value, quote(value, safe="")):
        for offset in range(3):
            # The first and the last characters of base64 depend on what stands around.
            inner = base64.b64encode(b"\0" * offset + text.encode())[4:-4]
            found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return found


NEEDLES = frozenset().union(*(encodings(value) for value in (APPSECRET, TOKEN_TAIL))) | {b"c4n4ry"}


def leaks(data: bytes | str) -> list[bytes]:
    """Return the secrets found in the data, in any encoding."""
    hay = data.encode(errors="replace") if isinstance(data, str) else data
    return [needle for needle in NEEDLES if needle in hay]


def leaks_in_files(root: Path) -> dict[str, list[bytes]]:
    """Return the files in a folder with a secret in their name or in their unpacked contents."""
    found: dict[str, list[bytes]] = {}
    for path in root.rglob("*"):
        leak = leaks(str(path.relative_to(root)))
        if path.is_file():
            leak += [needle for content in _contents(path) for needle in leaks(content)]
        if leak:
            found[str(path.relative_to(root))] = leak
    return found


def _contents(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, and its decompressed contents."""
    data = path.read_bytes()
    yield data
    if data.startswith(b"PAR1"):
        table = pq.read_table(path)
        footer = pq.read_metadata(path)
        yield repr(footer.to_dict()).encode()
        yield repr(table.to_pylist()).encode()
        yield from (key + value for key, value in footer.metadata.items())
        # A table beside the datasets has none.
        if COVERAGE in footer.metadata:
            yield repr(coverage.decode(footer.metadata[COVERAGE])).encode()
    elif data.endswith(raw_log._MARK):
        yield from texts_in(data)


def texts_in_error(error: BaseException, seen: set[int] | None = None) -> Iterator[str]:
    """Yield everything that an error reporter could print of an error.

    That is its text, arguments and attributes, the variables of every harvester frame in its
    traceback, and the same of its cause and context and of the errors in a group.
    """
    seen = set() if seen is None else seen
    if id(error) in seen:
        return
    seen.add(id(error))
    yield from (str(error), repr(error), *map(repr, error.args))
    for name in (*vars(error), *getattr(type(error), "__slots__", ())):
        yield from _shown(getattr(error, name, None))
    yield from _variables(error.__traceback__)
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for other in (error.__cause__, error.__context__, *inner):
        if other is not None:
            yield from texts_in_error(other, seen)


def _variables(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        if "/harvester/" in trace.tb_frame.f_code.co_filename.rpartition("site-packages")[2]:
            for value in trace.tb_frame.f_locals.values():
                yield from _shown(value)
        trace = trace.tb_next


def _shown(value: object) -> Iterator[str]:
    """Yield a value as a reporter prints it, and the items of a container."""
    yield repr(value)
    if isinstance(value, Secret):
        return
    if isinstance(value, dict):
        yield from map(repr, (*value, *value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from map(repr, value)
