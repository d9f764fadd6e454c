"""The manifest's JSON Schema, which editors use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from harvester.core import calendar
from harvester.core.config.settings import Manifest
from harvester.manifest import json_schema, loader

NOW = calendar.instant(calendar.parse_day("2026-06-15"), 12 * 60)
LEAST: dict[str, Any] = {
    "defaults": {"credential": {"secret": "${S}"}},
    "accounts": [{"appid": "wx0000000000000001"}],
    "jobs": [{}],
}


def load(folder: Path, value: dict[str, Any]) -> Manifest:
    """Write a manifest and load it."""
    (folder / "jobs.yaml").write_text(yaml.safe_dump(value))
    return loader.read(folder / "jobs.yaml", environ={}, now=NOW).manifest()


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield every key of a manifest: its model, its name, its schema."""
    for name, model in {"": schema, **schema["$defs"]}.items():
        for key, value in model["properties"].items():
            yield name, key, value


def test_the_schema_describes_every_key() -> None:
    """Every key has a description, and unknown keys are refused."""
    schema = json_schema.json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "harvester manifest"
    for model in (schema, *schema["$defs"].values()):
        assert model["additionalProperties"] is False
    for *_, value in properties(schema):
        named = schema["$defs"].get(value.get("$ref", "").rpartition("/")[2], value)
        assert (value.get("description") or named["description"]).endswith(".")
        assert "title" not in value
        assert {"type": "null"} not in value.get("anyOf", ())


def test_the_defaults_in_the_schema_are_the_real_ones(tmp_path: Path) -> None:
    """A manifest with a key's default loads as the manifest without the key."""
    sections = {"": "", "Api": "api", "Limits": "limits", "Retry": "retry", "Output": "output"}
    told = [
        (model, key, value["default"])
        for model, key, value in properties(json_schema.json_schema())
        if "default" in value
    ]
    assert {model for model, _, _ in told} == {
        *sections,
        "Pace",
        "WrittenJob",
        "Account",
        "Defaults",
        "AccountsFile",
        "CompleteBy",
    }
    (tmp_path / "a.csv").write_text("appid\n")
    for model, key, default in told:
        written: dict[str, Any] = {**LEAST}
        if model == "WrittenJob":
            written["jobs"] = [{key: default}]
        elif model == "Account":
            written["accounts"] = [{**account, key: default} for account in LEAST["accounts"]]
        elif model == "Defaults":
            written["defaults"] = {**LEAST["defaults"], key: default}
        elif model == "Pace":
            written["limits"] = {"per_token": {key: default}}
        elif model == "AccountsFile":
            file = {**LEAST, "accounts_file": {"path": "a.csv"}}
            written["accounts_file"] = {"path": "a.csv", key: default}
            assert load(tmp_path, written) == load(tmp_path, file)
            continue
        elif model == "CompleteBy":
            by = {**LEAST, "expect": {"all": {"complete_by": {"time": "12:00"}}}}
            written["expect"] = {"all": {"complete_by": {"time": "12:00", key: default}}}
            assert load(tmp_path, written) == load(tmp_path, by)
            continue
        elif model:
            written[sections[model]] = {key: default}
        else:
            written[key] = default
        assert load(tmp_path, written) == load(tmp_path, LEAST)
