"""The termination message of a container in Kubernetes: what `kubectl describe pod` says of it."""

from __future__ import annotations

from contextlib import suppress
from os import environ
from pathlib import Path

from harvester.cli.output.markdown import first_lines

MAX_BYTES = 4_096
"""Maximum bytes of a message; Kubernetes cuts a longer one in the middle of a character."""


def write_message(text: bytes) -> None:
    """Leave the first lines of a summary as the message, if this is a container of Kubernetes.

    Its file is there before the container starts. It is the one that ``TERMINATION_LOG_PATH`` names
    where the pod has another ``terminationMessagePath`` than the usual one.
    """
    file = Path(environ.get("TERMINATION_LOG_PATH") or "/dev/termination-log")
    # A message that cannot be written changes nothing about what was done.
    with suppress(OSError):
        if "KUBERNETES_SERVICE_HOST" in environ and file.is_file():
            file.write_bytes(first_lines(text, MAX_BYTES))
