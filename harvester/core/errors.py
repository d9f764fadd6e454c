"""Errors of harvester.

A `HarvesterError` ends a command with its exit code. A `CallError` is one failed attempt at a call,
and never leaves a run. An `InvalidValue` is one value of the configuration, without its place.

No error holds a URL, a token or a secret.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from harvester.core.exit_codes import Exit
from harvester.core.text.inert_text import inert


class HarvesterError(Exception):
    """An error that the user can act on: ``problem`` is what is wrong, ``advice`` what to do.

    A problem is one line, whatever a foreign text in it contains; several are a tuple of lines.
    ``result`` is the `harvester.Result` of the run that the error ended; None outside of a run.
    ``frames`` has the stack of a bug, outermost frame first, and is empty for any other error.
    """

    exit_code = Exit.BUG
    result: Any = None
    frames: tuple[str, ...] = ()

    def __init__(self, problem: str | tuple[str, ...], advice: str = "") -> None:
        self.lines = (problem,) if isinstance(problem, str) else problem
        self.problem = "\n".join(self.lines)
        super().__init__(self.problem)
        self.advice = advice

    def __str__(self) -> str:
        return "\n".join(filter(None, (self.problem, self.advice)))

    def to_dict(self) -> dict[str, Any]:
        """Return the error as values for JSON; ``result`` is the record of a run that it ended."""
        told = {"error": type(self).__name__, "message": self.problem, "advice": self.advice}
        result = self.result and self.result.to_dict()
        return {**told, "exit_code": int(self.exit_code), "result": result}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle all members, whatever the arguments of the class are.

        As a state and not as arguments, because the result of a run has the error that ended it.
        """
        return type(self).__new__, (type(self), *self.args), dict(vars(self))


class UsageError(HarvesterError):
    """A manifest with mistakes, or options that name something unknown or contradict each other.

    ``mistakes`` are those of a manifest, each with its place.
    """

    exit_code = Exit.USAGE
    mistakes: tuple[Mistake, ...] = ()


class HistoryLost(UsageError):
    """A cursor of the change feed behind which entries are missing, or one of another output.

    ``cursor`` is where to go on once everything was read.
    """

    def __init__(self, problem: str, advice: str, cursor: str) -> None:
        super().__init__(problem, advice)
        self.cursor = cursor


class OtherVersion(UsageError):
    """A file of a version that this release cannot read, mostly a newer version.

    The file is undamaged, so it is neither moved nor overwritten.
    """

    @classmethod
    def newer(cls, what: str, version: int, newest: int) -> OtherVersion:
        """Return the error for a version above ``newest``, the newest that this release reads."""
        return cls(
            f"{what} version {version}, and this harvester reads up to version {newest}",
            "upgrade harvester: a newer one has written to this output",
        )


class EarlierBuild(OtherVersion):
    """A file that a build from before the first release wrote."""

    @classmethod
    def of(cls, what: str, version: int) -> EarlierBuild:
        """Return the error for a version that no release has written."""
        return cls(
            f"{what} version {version}, written by a build from before 0.1.0",
            "harvest into a new output; see CHANGELOG.md",
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


class UnknownName(InvalidValue):
    """A name that nothing has. ``what`` is a whole sentence."""


class Place(NamedTuple):
    """A place in a file. Lines and columns count from one, columns in characters.

    In a CSV file ``line`` and ``column`` count rows and columns, and ``cell`` names both.
    """

    file: Path
    line: int
    column: int
    cell: str = ""

    def __str__(self) -> str:
        file = inert(str(self.file))
        return f"{file}: {self.cell}" if self.cell else f"{file}:{self.line}:{self.column}"


DEFAULTS, PLATFORM = "defaults", "platform"
"""Keys of the places of the defaults' credential and of the platform's secrets."""


class Mistake(NamedTuple):
    """One mistake in a manifest or in its accounts file."""

    place: Place
    what: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.place}: {self.what}{hint}"


MAX_MISTAKES = 100
"""Maximum mistakes of a manifest that are listed."""


class ManifestError(UsageError):
    """All mistakes of a manifest, in the order of the file, or the first MAX_MISTAKES found."""

    def __init__(self, problems: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(problems[:MAX_MISTAKES], key=lambda p: p.place[:3]))
        count = len(self.mistakes)
        more = " and more" if len(problems) > count else ""
        advice = f"{count} mistake{'s' * (count != 1)}{more}; nothing was requested"
        super().__init__(tuple(map(str, self.mistakes)), advice)


class Busy(HarvesterError):
    """A lock conflict: another run holds buckets that this run needs.

    ``owner`` names the holder and ``since`` when it took the bucket, RFC 3339 in UTC; both are
    empty if it left no note. From ``retry_at`` on the bucket may be free: when the holder's lease
    ends, or in a minute where it has none.
    """

    exit_code = Exit.AGAIN

    def __init__(
        self,
        problem: str,
        advice: str = "",
        *,
        owner: str = "",
        since: str = "",
        retry_at: datetime | None = None,
    ) -> None:
        super().__init__(problem, advice)
        self.owner = owner
        self.since = since
        self.retry_at = retry_at


class RunFailed(HarvesterError):
    """A run that did not end with everything that was wanted; ``result`` says what is missing."""

    @property
    def retry_at(self) -> datetime | None:
        """The moment from which a run can obtain more; None if nothing comes by itself."""
        return None if self.result is None else self.result.retry_at


class Unfinished(RunFailed):
    """An unfinished run: a later one can obtain something, from ``retry_at`` on."""

    exit_code = Exit.AGAIN


class PartialFailure(RunFailed):
    """A run after which days are missing that no later run obtains by itself."""

    exit_code = Exit.INCOMPLETE


class Unauthorised(RunFailed):
    """No account can be asked: WeChat refused each of them, or the token of their platform."""

    exit_code = Exit.UNAUTHORISED


class Stopped(RunFailed):
    """A run that was asked to stop; what it had obtained is published."""

    exit_code = Exit.SIGINT


class Unanswered(HarvesterError):
    """A missing answer that a command needs before it starts. A later attempt may succeed."""

    exit_code = Exit.AGAIN


class ProcessDied(HarvesterError):
    """A process of a run that was killed or hung, and so was the one in its place."""

    exit_code = Exit.AGAIN


class Shortage(ProcessDied):
    """A lack of memory or of descriptors, which ends a process as a signal would."""


class MemoryLimit(HarvesterError):
    """A run that used as much memory as ``limits.memory`` allows; what it had obtained is safe."""

    exit_code = Exit.AGAIN


class LeaseLost(HarvesterError):
    """A lease of a bucket that was not renewed in time, so another run may work in the bucket."""

    exit_code = Exit.AGAIN


class StoreError(HarvesterError):
    """A failed read or write of the output tree: full disk, missing permission, damaged file."""


class AccessRefused(StoreError):
    """A place that a wrong path, permissions or missing credentials close to this user.

    The first contact with an output makes it a UsageError; after that it is a failure of the store.
    """


class StoreAway(StoreError):
    """An object store that does not answer, or cannot now: a later run may have one that can."""

    exit_code = Exit.AGAIN


class StoreRefused(AccessRefused):
    """An object store that answers and refuses.

    In the middle of a run that may be an expired key, so the next run tells.
    """

    exit_code = Exit.AGAIN


class DamagedOutput(StoreError):
    """A file of the output that is damaged or not harvester's; it is named, and left as it is."""


class LostRace(StoreError):
    """A file that another run replaced between read and write: read and merge again."""

    exit_code = Exit.AGAIN


class CallError(Exception):
    """A failed attempt at a call. The text names the failure, never the URL."""


class NotStarted(CallError):
    """A call that was not made, because the run has lost the lease of its buckets."""


class ConnectionFailed(CallError):
    """A call without an answer: unreachable, reset, or closed during the request."""


class Unreachable(ConnectionFailed):
    """A failed connection, so nothing was sent: refused, unresolvable, or not in time."""


class NotConnected(Unreachable):
    """A connection that this machine's network or proxy refuses: a later attempt seldom helps."""


class NoTokenServer(ConnectionFailed):
    """A token server to which this machine cannot connect; it says nothing of WeChat."""


class TokenWithheld(CallError):
    """A request for a token that was not made, because WeChat answers none for the moment.

    ``last`` is the error of the last one that was made.
    """

    def __init__(self, last: Exception) -> None:
        super().__init__(last)
        self.last = last


class CallTimedOut(CallError):
    """A call without a complete answer within the request's time limit."""


class BadTls(CallError):
    """A rejected server certificate. A retry cannot help; ``api.ca_file`` may."""


class OutdatedTls(BadTls):
    """A certificate that is expired or not valid yet, by the clock of this machine."""


class BadAnswer(CallError):
    """A response that is no complete JSON document: HTML, truncated, redirect, too large."""


class LongAnswer(BadAnswer):
    """A response that is longer than any that is read whole."""


class ForeignPage(BadAnswer):
    """A page or a redirect in the place of an answer, as of a proxy or a sign-in page."""


class SaidFailure(BadAnswer):
    """An answer without rows that says in words that it is a failure."""


class Malformed(BadAnswer):
    """A complete JSON document that is neither a list of rows nor a refusal."""


_MAX_PLACES = 3

INTERNAL_ERROR = "a bug in harvester"
"""Beginning of the reason for quarantine if the answer itself may be correct."""


def places(error: BaseException) -> list[str]:
    """Return the frames of an error, outermost first, without its text, which may hold a URL.

    Files beside the package, and its own, are named from there.
    """
    beside = f"{Path(__file__).parents[2]}/"
    return [
        f"{frame.filename.removeprefix(beside)}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]


CALLED_FROM = ", called from "
"""Words between the frames of a bug."""


def last_places(error: BaseException) -> str:
    """Name the innermost frame of an error, and the last three of harvester, innermost first."""
    frames = places(error)
    own = [frame for frame in frames if frame.startswith("harvester/")]
    last = dict.fromkeys([*frames[-1:], *reversed(own[-_MAX_PLACES:])])
    return CALLED_FROM.join(last) or "an unknown place"
