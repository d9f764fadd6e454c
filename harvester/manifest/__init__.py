"""Reads ``jobs.yaml`` into the configuration, or reports every mistake in it at once.

`read` and `load` read the file, `narrow` applies the command line's selection; `meant`,
`day_option`, `end_day_option`, `duration_option`, `timeout_option` and `place_named` parse single
options.
`CredentialReader` resolves the references in credentials before a verb calls WeChat,
`touched` and `secret_files` list the external inputs, and `json_schema` describes the format for
editors.
"""

from __future__ import annotations

from harvester.manifest.external_inputs import Touched, secret_files, touched
from harvester.manifest.json_schema import json_schema
from harvester.manifest.loader import Draft, load, read
from harvester.manifest.narrowing import ALL, Selection, meant, narrow
from harvester.manifest.option_values import (
    day_option,
    duration_option,
    end_day_option,
    place_named,
    timeout_option,
)
from harvester.manifest.resolve_credentials import CredentialReader

__all__ = [
    "ALL",
    "CredentialReader",
    "Draft",
    "Selection",
    "Touched",
    "day_option",
    "duration_option",
    "end_day_option",
    "json_schema",
    "load",
    "meant",
    "narrow",
    "place_named",
    "read",
    "secret_files",
    "timeout_option",
    "touched",
]
