"""Golden files: one of each scene, as JSON that a person can read and review.

Members of a record that are as in a run that did nothing are left out; ``_empty_record.json`` has
them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.golden_runs import process_scenes, scenes, spark_scenes  # noqa: F401 - they add theirs
from tests.golden_runs.normalise import Normaliser
from tests.golden_runs.registry import SCENES, Scene
from tests.golden_runs.stage import Form, Stage
from tests.golden_runs.stage import stage as set_stage

FOLDER = Path(__file__).parents[1] / "data/golden_runs"

_WIDTH = 100
_FORMS: tuple[Form, ...] = ("json", "text")


def all_names() -> list[str]:
    """Return the names of all scenes."""
    return list(SCENES)


def play(name: str) -> dict[str, Any]:
    """Play a scene, and return what its golden file should have.

    A scene of commands is played with JSON lines and with text.
    """
    scene = SCENES[name]
    if scene.is_on_spark:
        stage = _played(scene, "json")
        normaliser = Normaliser(stage.hidden, scene.loose)
        harvests = [normaliser.harvest(each) for each in stage.harvests]
        return {"scene": scene.play.__doc__, "harvests": harvests}
    told, written = (_played(scene, form) for form in _FORMS)
    normaliser = Normaliser(told.hidden | written.hidden, scene.loose)
    commands = [normaliser.command(*pair) for pair in zip(told.ended, written.ended, strict=True)]
    return {"scene": scene.play.__doc__, "commands": commands}


def _played(scene: Scene, form: Form) -> Stage:
    """Play a scene on a stage of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="golden-") as folder,
        set_stage(form, Path(folder).resolve(), scene.rules) as stage,
    ):
        scene.play(stage)
    return stage


def with_defaults(golden: dict[str, Any]) -> dict[str, Any]:
    """Return a golden file with the members that were left out of its records."""
    empty = json.loads(FOLDER.joinpath("_empty_record.json").read_text("utf-8"))
    for holder, name, record in _records(golden):
        holder[name] = empty | record
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
    for holder, part, record in _records(lean):
        holder[part] = {
            member: value
            for member, value in record.items()
            if member not in empty or empty[member] != value
        }
    FOLDER.joinpath(f"{name}.json").write_text(f"{_json(lean, '')}\n", "utf-8")


def _records(golden: dict[str, Any]) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    """Yield the records of a golden file, each with what holds it and under which key."""
    for command in golden.get("commands", ()):
        for name in ("record", "in_output"):
            if isinstance(command[name], dict):
                yield command, name, command[name]
    for harvest in golden.get("harvests", ()):
        for number, record in enumerate(harvest["records"]):
            yield harvest["records"], number, record


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
