"""Every error a caller may see, and the exit codes a scheduler acts on.

::

    HarvesterError                 one sentence of what is wrong, one of what to do
    ├── UsageError                 2   the command line asks for what cannot be
    │   └── OtherVersion               a file of a version that is not read here
    ├── ManifestError              2   every mistake of a manifest, each with its place
    ├── Busy                      75   another run holds the buckets
    ├── Unauthorised               4   the platform gets no token
    ├── Unanswered                75   what must be known first was not answered
    └── StoreError                 1   the output cannot be read or written
        └── LostRace                   another run replaced the file first: merge again

    CallError                      one attempt at one call came to nothing; never leaves a run
    ├── ConnectionFailed           no answer: reset, cut off
    │   └── Unreachable            nothing was sent: refused, DNS, no connection in time
    ├── CallTimedOut               no whole answer in time
    ├── BadTls                     the certificate was not accepted; repeating does not help
    └── BadAnswer                  an answer that is none: HTML, half a JSON, a redirect, too long
        └── Malformed              whole JSON, but neither rows nor a refusal

None of them ever holds a URL, a token or a secret.
"""

from __future__ import annotations

import traceback
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple


class Exit(IntEnum):
    """Exit codes of every verb. The most severe wins; the order is that of ``SEVERITY``."""

    DONE = 0
    BUG = 1
    USAGE = 2
    INCOMPLETE = 3
    UNAUTHORISED = 4
    AGAIN = 75
    SIGHUP = 129
    SIGINT = 130
    SIGTERM = 143


SEVERITY = (
    Exit.BUG,
    Exit.USAGE,
    Exit.SIGINT,
    Exit.SIGTERM,
    Exit.SIGHUP,
    Exit.UNAUTHORISED,
    Exit.INCOMPLETE,
    Exit.AGAIN,
    Exit.DONE,
)


class HarvesterError(Exception):
    """Something a user can act on: what is wrong, and what to do about it."""

    exit_code = Exit.BUG

    def __init__(self, problem: str, advice: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.advice = advice


class UsageError(HarvesterError):
    """The command line asks for something that does not exist or contradicts itself."""

    exit_code = Exit.USAGE


class OtherVersion(UsageError):
    """A file of a version that this harvester does not read, mostly a newer one.

    It is whole: it is never moved, and nothing is written in its place.
    """

    @classmethod
    def newer(cls, what: str, version: int, newest: int) -> OtherVersion:
        """Name the version of something, and the newest one that is read."""
        return cls(
            f"{what} version {version}, and this harvester reads up to version {newest}",
            "upgrade harvester: a newer one has written to this output",
        )


class InvalidValue(ValueError):
    """Text that its key does not accept.

    ``what`` continues a sentence that begins with the key's name: "is not a day". Neither ``what``
    nor ``hint`` holds the text. ``keys`` are set where keys contradict each other: first the key to
    change, then the others.
    """

    def __init__(self, what: str, hint: str = "", *, keys: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.keys = keys


class Place(NamedTuple):
    """A place in a file. Lines and columns count from one, columns in characters.

    In a table ``line`` counts rows, ``column`` columns, and ``cell`` names the two.
    """

    file: Path
    line: int
    column: int
    cell: str = ""

    def __str__(self) -> str:
        if self.cell:
            return f"{self.file}: {self.cell}"
        return f"{self.file}:{self.line}:{self.column}"


class Problem(NamedTuple):
    """One mistake in a manifest or a file it names."""

    place: Place
    what: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.place}: {self.what}{hint}"


class ManifestError(HarvesterError):
    """All mistakes of a manifest at once, in the order they stand in the file."""

    exit_code = Exit.USAGE

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: p.place[:3]))
        count = len(self.problems)
        noun = "mistake" if count == 1 else "mistakes"
        super().__init__(
            "\n".join(map(str, self.problems)), f"{count} {noun}; nothing was requested"
        )


class Busy(HarvesterError):
    """Another run holds buckets that this one needs."""

    exit_code = Exit.AGAIN


class Unauthorised(HarvesterError):
    """WeChat gives no token to the platform, so nobody's account can be asked."""

    exit_code = Exit.UNAUTHORISED


class Unanswered(HarvesterError):
    """What a verb must know before it begins was not answered; perhaps it is the next time."""

    exit_code = Exit.AGAIN


class StoreError(HarvesterError):
    """The output tree cannot be read or written: a full disk, a lost permission, a damaged file."""


class LostRace(StoreError):
    """Another run replaced a file between our reading and our writing it: read and merge again."""


class CallError(Exception):
    """One attempt at one call came to nothing. The text names the failure, never the URL."""


class ConnectionFailed(CallError):
    """No answer came: unreachable, reset, or closed while we were sending."""


class Unreachable(ConnectionFailed):
    """No connection came about, so nothing was sent: refused, unresolvable, or not in time."""


class CallTimedOut(CallError):
    """No whole answer within the time a request may take."""


class BadTls(CallError):
    """The server's certificate was not accepted. Repeating cannot help; ``api.ca_file`` may."""


class BadAnswer(CallError):
    """What came back is not an answer of the API: HTML, half a JSON, a redirect, too many bytes."""


class Malformed(BadAnswer):
    """What came back is one whole JSON document, and neither a list of rows nor a refusal."""


def places(error: BaseException) -> list[str]:
    """Where an error came from, outermost first. Its own text is left out: it may hold a URL."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
