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


PLUGIN = """
import sys
sys.stderr.write("the plugin was loaded")
class Plugin:
    def new_schema_validator(self, *_, **__):
        return None, None, None
plugin = Plugin()
"""


def test_the_command_loads_no_plugin_of_pydantic(tmp_path: Path) -> None:
    """A plugin that another package has installed would see the secrets of the manifest."""
    (tmp_path / "spy.py").write_text(PLUGIN)
    package = tmp_path / "spy-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: spy\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[pydantic]\nspy = spy:plugin\n")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    # The command line sets it, which this process may have loaded.
    environ.pop("PYDANTIC_DISABLE_PLUGINS", None)
    loads = [sys.executable, "-c", "import harvester.core.config.settings"]
    told = subprocess.run(loads, env=environ, capture_output=True, text=True, check=True).stderr
    assert told == "the plugin was loaded"
    asks = [sys.executable, "-m", "harvester", "plan", "missing.yaml"]
    told = subprocess.run(asks, env=environ, capture_output=True, text=True, check=False).stderr
    assert "missing.yaml" in told
    assert "plugin" not in told
