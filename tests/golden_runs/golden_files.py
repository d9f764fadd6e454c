"""Golden files: one of each scene, as JSON that a person can read and review.

Members of a record that are as in a run that did nothing are left out; ``_empty_record.json`` has
them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.golden_runs.normalise import Normaliser
from tests.golden_runs.scenes import SCENES
from tests.golden_runs.stage import Form, stage

FOLDER = Path(__file__).parents[1] / "data/golden_runs"

_WIDTH = 100
_FORMS: tuple[Form, ...] = ("json", "text")


def play(name: str) -> dict[str, Any]:
    """Play a scene with JSON lines and with text, and return what its golden file should have."""
    scene = SCENES[name]
    stages = []
    for form in _FORMS:
        with (
            tempfile.TemporaryDirectory(prefix="golden-") as folder,
            stage(form, Path(folder).resolve(), scene.rules) as made,
        ):
            scene.play(made)
        stages.append(made)
    told, written = stages
    normaliser = Normaliser(told.hidden | written.hidden, scene.loose)
    commands = [normaliser.command(*pair) for pair in zip(told.ended, written.ended, strict=True)]
    return {"scene": scene.play.__doc__, "commands": commands}


def with_defaults(golden: dict[str, Any]) -> dict[str, Any]:
    """Return a golden file with the members that were left out of its records."""
    empty = json.loads(FOLDER.joinpath("_empty_record.json").read_text("utf-8"))
    for command in golden["commands"]:
        for name in ("record", "in_output"):
            if isinstance(command[name], dict):
                command[name] = empty | command[name]
    return golden


def read(name: str) -> dict[str, Any]:
    """Return a golden file as `play` would."""
    return with_defaults(json.loads(FOLDER.joinpath(f"{name}.json").read_text("utf-8")))


def write(name: str, played: dict[str, Any]) -> None:
    """Write a golden file; the record of a command that began no run is the empty one."""
    place = FOLDER / "_empty_record.json"
    if not place.exists():
        first = played["commands"][0]["record"]
        place.write_text(f"{_json(first, '')}\n", "utf-8")
    empty = json.loads(place.read_text("utf-8"))
    lean = json.loads(json.dumps(played))
    for command in lean["commands"]:
        for part in ("record", "in_output"):
            if isinstance(command[part], dict):
                command[part] = {
                    member: value
                    for member, value in command[part].items()
                    if member not in empty or empty[member] != value
                }
    FOLDER.joinpath(f"{name}.json").write_text(f"{_json(lean, '')}\n", "utf-8")


def differences(golden: Any, played: Any, path: str = "") -> list[str]:
    """Return where two values differ, a line each."""
    if isinstance(golden, dict) and isinstance(played, dict):
        return [
            line
            for name in {**golden, **played}
            for line in differences(golden.get(name), played.get(name), f"{path}.{name}")
        ]
    if isinstance(golden, list) and isinstance(played, list) and len(golden) == len(played):
        return [
            line
            for number, pair in enumerate(zip(golden, played, strict=True))
            for line in differences(*pair, f"{path}[{number}]")
        ]
    return [] if golden == played else [f"{path}: {golden!r} in the golden file, {played!r} now"]


def _json(value: Any, indent: str) -> str:
    """Encode a value, on one line if it fits there."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + len(indent) <= _WIDTH or not isinstance(value, dict | list) or not value:
        return flat
    inner = indent + "  "
    if isinstance(value, dict):
        lines = [f"{inner}{json.dumps(name)}: {_json(each, inner)}" for name, each in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return "[\n" + ",\n".join(f"{inner}{_json(each, inner)}" for each in value) + f"\n{indent}]"
