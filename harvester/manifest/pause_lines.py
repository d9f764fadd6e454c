"""Lines that pause what was refused, to paste into a manifest and its accounts file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from harvester.core.calendar import Day, day_text
from harvester.core.config.settings import Account, Manifest, Pause
from harvester.core.text.inert_text import inert, inert_json, inert_line, named


class Refused(NamedTuple):
    """A refusal of an account: of ``datasets``, or of the whole account without any.

    ``errcode`` is None if it is not WeChat's, and ``meaning`` says what is wrong.
    """

    appid: str
    datasets: tuple[str, ...]
    errcode: int | None
    meaning: str


def pause_lines(manifest: Manifest, refused: Iterable[Refused], today: Day) -> Iterator[str]:
    """Yield two lines for each refused account: its place, and what pauses it there.

    What the account has paused already stays paused.
    """
    by_appid: dict[str, list[Refused]] = {}
    for each in refused:
        by_appid.setdefault(each.appid, []).append(each)
    for account in manifest.accounts:
        if account.appid in by_appid:
            pause = _pause(account.paused, by_appid[account.appid], today)
            yield from map(inert_line, _lines(manifest, account, pause))


def _pause(before: Pause | None, refused: list[Refused], today: Day) -> dict[str, Any]:
    """Return a pause as a manifest has it."""
    whys = (f"{each.errcode}, {each.meaning}" if each.errcode else each.meaning for each in refused)
    reason = f"refused on {day_text(today)}: {'; '.join(dict.fromkeys(whys))}"
    names = [each.datasets for each in refused]
    pause: dict[str, Any] = {}
    if before is not None:
        reason = f"{before.reason}; {reason}"
        names.insert(0, before.datasets)
        if before.until is not None:
            pause["until"] = day_text(before.until)
    # What is about the whole account names no datasets.
    if all(names):
        pause["datasets"] = [*dict.fromkeys(name for each in names for name in each)]
    # Or it would be a reference.
    return {"reason": reason.replace("${", "$ {"), **pause}


def _lines(manifest: Manifest, account: Account, pause: dict[str, Any]) -> Iterator[str]:
    place = manifest.account_places.get(account.appid)
    whose = named(account.appid, account.name)
    if place is not None and place.cell:
        yield f"# {whose}, {place.file.name} row {place.line}: paused,paused.datasets,paused.until"
        reason = inert(pause["reason"]).replace('"', '""')
        yield f'"{reason}",{";".join(pause.get("datasets", []))},{pause.get("until", "")}'
        return
    # YAML reads JSON.
    value = inert_json(json.dumps(pause, ensure_ascii=False))
    if place is None and manifest.from_platform:
        yield f"# {whose}, under `accounts`"
        yield f"  - {{appid: {account.appid}, paused: {value}}}"
    else:
        # What a run has kept of a manifest has no places; a second entry would be a mistake.
        yield f"# {whose}, {place.file.name}:{place.line}" if place else f"# {whose}, in its entry"
        yield f"    paused: {value}"
