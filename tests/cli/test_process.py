"""Protection of the process: nothing that writes its memory or its keys to a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPORT = """
import os, resource, sys
from harvester import cli
import aiohttp
def report(code):
    print(code, resource.getrlimit(resource.RLIMIT_CORE), "SSLKEYLOGFILE" in os.environ)
    sys.stdout.flush()
    real(code)
real, os._exit = os._exit, report
sys.argv[1:] = ["explain", "45009"]
cli.main()
"""


def test_the_command_dumps_no_core_and_logs_no_keys(tmp_path: Path) -> None:
    """Whatever limit and variable it inherits; the commands that it starts inherit the same."""
    log = tmp_path / "keys"
    environ = {**os.environ, "SSLKEYLOGFILE": str(log)}
    command = ["sh", "-c", 'ulimit -S -c unlimited; exec "$@"', "-", sys.executable, "-c", REPORT]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "0 (0, 0) False"
    assert not log.exists()
