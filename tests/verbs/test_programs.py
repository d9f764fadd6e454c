"""Programs of users: a script, an orchestrator's task, a service, a notebook, a test of their own.

Each is a file that is run by itself, as its author would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), "HOME": "/nonexistent"}

SCRIPT = """
import json, sys
import harvester

result = harvester.run(json.loads(sys.argv[1]))
print(result.outcome, result.requests > 0)
sys.exit(result.exit_code)
"""

ORCHESTRATOR = """
import json, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import harvester


def task(manifest, shard):
    result = harvester.run(manifest, shard=shard, labels={"task": shard})
    result.raise_for_outcome()
    return result


if __name__ == "__main__":
    manifest = json.loads(sys.argv[1])
    manifest["output"] = {"path": manifest["output"], "buckets": 2}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        parts = list(pool.map(task, [manifest] * 2, ["1/2", "2/2"]))
    whole = harvester.Result.merge(parts)
    print(whole.outcome, whole.datasets[0].accounts, sorted(part.shard for part in parts))
"""

SERVICE = """
import asyncio, json, sys
import harvester


async def main():
    ticks = 0

    async def heartbeat():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    beating = asyncio.create_task(heartbeat())
    one, other = await asyncio.gather(
        harvester.run_async(json.loads(sys.argv[1])),
        asyncio.to_thread(harvester.plan, json.loads(sys.argv[1])),
    )
    beating.cancel()
    print(one.outcome, other.account_days > 0, ticks > 10)


asyncio.run(main())
"""

NOTEBOOK = """
import json, os, sys
import nbformat
from nbclient import NotebookClient

os.environ["MANIFEST"] = sys.argv[1]
cells = [
    "import json, os, harvester",
    "result = harvester.run(json.loads(os.environ['MANIFEST']))",
    "again = await harvester.run_async(json.loads(os.environ['MANIFEST']))",
    "print(result.outcome, again.requests)",
]
book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
NotebookClient(book, kernel_name="python3").execute()
print(book.cells[-1].outputs[0].text.strip())
"""

OWN_TEST = """
import harvester
from harvester.testing import sandbox


def test_my_pipeline(tmp_path):
    with sandbox(accounts=2, today="2026-03-10") as wechat:
        manifest = wechat.manifest(
            ["user_summary"],
            begin_date="2026-03-01",
            end_date="2026-03-07",
            output=str(tmp_path / "output"),
        )
        assert harvester.run(manifest).outcome == "complete"
        truth = wechat.expected("user_summary", "2026-03-01", "2026-03-07")
        wechat.fail("wx0000000000000001", 50001)
        manifest["jobs"][0]["begin_date"] = "2026-02-01"
        assert harvester.run(manifest).reasons == ("refused",)
    assert truth.num_rows > 0
"""


def output_of(program: str, folder: Path, *arguments: str, code: int = 0) -> str:
    """Run a program from a file; returns what it prints."""
    file = folder / "program.py"
    file.write_text(program)
    command = [sys.executable, str(file), *arguments]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=ENVIRONMENT, cwd=folder
    )
    assert done.returncode == code, done.stderr
    return done.stdout.strip()


def test_a_script(manifest: dict[str, Any], tmp_path: Path) -> None:
    """It prints the outcome and ends with the exit code."""
    assert output_of(SCRIPT, tmp_path, json.dumps(manifest)) == "complete True"


def test_a_task_of_an_orchestrator(manifest: dict[str, Any], tmp_path: Path) -> None:
    """One process per shard, whose results come back and are merged."""
    found = output_of(ORCHESTRATOR, tmp_path, json.dumps(manifest))
    assert found == "complete 3 ['1/2', '2/2']"


def test_a_service_in_a_running_loop(manifest: dict[str, Any], tmp_path: Path) -> None:
    """Its other tasks go on while a run is at work."""
    assert output_of(SERVICE, tmp_path, json.dumps(manifest)) == "complete True True"


def test_a_notebook(manifest: dict[str, Any], tmp_path: Path) -> None:
    """In a real kernel, whose loop is running, with and without ``await``."""
    pytest.importorskip("nbclient", reason="nbclient and ipykernel are not installed")
    assert output_of(NOTEBOOK, tmp_path, json.dumps(manifest)) == "complete 0"


@pytest.mark.long
def test_a_test_of_the_user_s_own(tmp_path: Path) -> None:
    """Pytest in a process of its own finds the emulator and needs nothing else."""
    (tmp_path / "test_mine.py").write_text(OWN_TEST)
    program = "import pytest, sys; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '.']))"
    assert "1 passed" in output_of(program, tmp_path)
