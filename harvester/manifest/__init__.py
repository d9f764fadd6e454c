"""The manifest: ``jobs.yaml`` to one valid value, or every mistake in it at once.

`load` reads, `narrow` applies the command line's selection, `credential_of` follows an account's
reference when a run is about to talk to WeChat, `json_schema` tells editors what may be written,
and `place_named` reads what the command line says of the output.
"""

from __future__ import annotations

from harvester.manifest.loading import load
from harvester.manifest.references import credential_of
from harvester.manifest.schema import json_schema
from harvester.manifest.sections import place_named
from harvester.manifest.selection import Selection, narrow

__all__ = ["Selection", "credential_of", "json_schema", "load", "narrow", "place_named"]
