"""The manifest: ``jobs.yaml`` to one valid value, or every mistake in it at once.

`read` and `load` read, `narrow` applies the command line's selection; `meant`, `day_option` and
`duration_option` read single options. `access_of` and `platform_of` follow references when a verb
is about to talk to WeChat, `touched` names what that would reach for, `json_schema` tells editors
what may be written, and `place_named` reads what the command line says of the output.
"""

from __future__ import annotations

from harvester.manifest.build import place_named
from harvester.manifest.external_inputs import Touched, secret_files, touched
from harvester.manifest.json_schema import json_schema
from harvester.manifest.loader import load, read
from harvester.manifest.resolve_credentials import access_of, platform_of
from harvester.manifest.selection import day_option, duration_option, meant, narrow

__all__ = [
    "Touched",
    "access_of",
    "day_option",
    "duration_option",
    "json_schema",
    "load",
    "meant",
    "narrow",
    "place_named",
    "platform_of",
    "read",
    "secret_files",
    "touched",
]
