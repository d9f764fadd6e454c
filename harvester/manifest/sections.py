"""The smaller sections of a manifest, from what is written to what the line works with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from harvester.catalogue import CATALOGUE, retirement
from harvester.core.config import Api, Limits, Output, Pace, Retry
from harvester.core.dataset import Dataset
from harvester.core.errors import UsageError
from harvester.manifest import grammar, shape
from harvester.manifest.ground import Shape
from harvester.manifest.mistakes import Reading, Unfit, Where, nearest, shown


def _given(written: Shape | None) -> dict[str, Any]:
    """The keys that are there. The others keep the defaults of `harvester.core.config`."""
    if written is None:
        return {}
    return {
        name: str(value) if isinstance(value, str) else value
        for name, value in written
        if value is not None
    }


def api(written: shape.Api | None, where: Where, reading: Reading) -> Api:
    """Where WeChat is. The file of certificates has to be there."""
    given = _given(written)
    if "ca_file" in given:
        given["ca_file"] = reading.folder / given["ca_file"]
        if flaw := _flaw_of(given["ca_file"]):
            place = where(("api", "ca_file"))
            reading.mistakes.at(place, f"`ca_file` {flaw}", "a PEM file of certificates")
    return Api(**given)


def _flaw_of(file: Path) -> str:
    """Why a path is that of no file, as far as one may look; nothing if it is."""
    try:
        return "" if file.is_file() else "names no file"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def limits(written: shape.Limits | None, where: Where, reading: Reading) -> Limits:
    """What a run may ask."""
    given = _given(written)
    pace = _given(given.pop("per_token", None))
    if "rate" in pace:
        pace["count"], pace["period"] = pace.pop("rate")
    per_token = Pace(**pace)
    if per_token.burst > per_token.count:
        what = f"`burst` is more than the {per_token.count:,} of the rate"
        reading.mistakes.at(where(("limits", "per_token", "burst")), what)
    made = Limits(per_token=per_token, **given)
    if made.daily_reserve.of(made.daily_quota) >= made.daily_quota:
        what = f"`daily_reserve` leaves nothing of the {made.daily_quota:,} calls of `daily_quota`"
        reading.mistakes.at(where(("limits", "daily_reserve")), what)
    return made


def retry(written: shape.Retry | None, where: Where, reading: Reading) -> Retry:
    """How often a window is tried."""
    given = _given(written)
    made = Retry(**given)
    if made.initial_delay > made.max_delay:
        key = "initial_delay" if "initial_delay" in given else "max_delay"
        reading.mistakes.at(where(("retry", key)), "`initial_delay` is longer than `max_delay`")
    return made


def output(written: str | shape.Output | None, where: Where, reading: Reading) -> Output:
    """Where the files go; a relative path counts from the manifest's directory."""
    given: dict[str, Any] = {"path": str(written)} if isinstance(written, str) else _given(written)
    given["path"] = place(given.get("path", "output"), reading.folder)
    if isinstance(given["path"], Path):
        for name in ("endpoint", "single_writer"):
            if given.get(name):
                what = f"`{name}` speaks of an object store, and `path` is a directory"
                reading.mistakes.at(where(("output", name)), what, "leave it out")
    return Output(**given)


def place(text: str, folder: Path) -> Path | str:
    """A folder, or a place in an object store as text."""
    return text if text.startswith(grammar.STORES) else folder / text


def place_named(text: str) -> Path | str:
    """As `place`, where the command line says it. Raises UsageError."""
    if "://" not in text:
        return Path(text)
    try:
        return grammar.place(text)
    except Unfit as error:
        raise UsageError(f"the output named on the command line {error.what}", error.hint) from None


def datasets(
    written: dict[str, shape.Override] | None, where: Where, reading: Reading
) -> dict[str, Dataset]:
    """The catalogue with what the manifest knows better."""
    known = dict(CATALOGUE)
    for name, override in (written or {}).items():
        if name not in known:
            hint = nearest(name, known) or "`harvester datasets` lists them"
            unknown = f"unknown dataset{shown(name)}", hint
            place = where(("datasets", name), key=True)
            reading.mistakes.at(place, *(retirement(name) or unknown))
            continue
        given = _given(override)
        if "ready_at" in given:
            given["ready_minutes"] = given.pop("ready_at")
        known[name] = dataclasses.replace(known[name], **given)
    return known
