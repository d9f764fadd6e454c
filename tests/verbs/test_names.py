"""The public names: loaded late, typed, and with signatures that change on purpose alone."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

import harvester
from tools.reference.pages import is_ours

SIGNATURES = Path(__file__).with_name("signatures.txt")

PROGRAM = '''
"""A program that uses the API, checked as its author's type checker would."""

from datetime import datetime

import harvester
from harvester.testing import sandbox


def nightly(manifest: str) -> datetime | None:
    result: harvester.Result = harvester.run(manifest, labels={"team": "growth"})
    try:
        result.raise_for_outcome()
    except harvester.Unfinished as error:
        return error.retry_at
    return None


async def service() -> int:
    with sandbox(accounts=2) as wechat:
        done = await harvester.run_async(wechat.manifest(["user_summary"]), shard="1/2")
    return done.requests


def listen(event: harvester.Event) -> None:
    if isinstance(event, harvester.Problem):
        print(event.cause, event.accounts)


days: int = harvester.plan("jobs.yaml").calendar_days
answer: harvester.Answer = harvester.fetch("jobs.yaml", "Acme", "user_summary", "yesterday")
values: list[str] = [value.column for value in answer.changed]
whole: bool = harvester.status("jobs.yaml").complete
'''


def test_importing_harvester_loads_nothing_of_it() -> None:
    """The names are there, and what they need is loaded when one is used."""
    program = "import harvester, sys; dir(harvester); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    loaded = done.stdout.split()
    assert "harvester" in loaded
    assert [name for name in loaded if name.startswith("harvester.")] == []
    assert not {"aiohttp", "pyarrow", "pydantic", "asyncio", "yaml"} & {*loaded}


def test_the_help_loads_no_model_and_no_engine() -> None:
    """Modules that read a manifest, call WeChat or open a file load for longer than it prints."""
    program = "import sys, harvester.cli as cli; cli.invoke(['--help']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert "Usage: harvester" in done.stdout
    loaded = {*done.stdout.splitlines()[-1].split()}
    assert "harvester.cli.verbs" in loaded
    assert not {"aiohttp", "anyio", "pyarrow", "pydantic", "asyncio", "yaml"} & loaded


def test_a_verb_without_a_call_loads_no_client() -> None:
    """The HTTP client takes a fifth of the time in which such a verb is loaded."""
    verbs = "changes", "forget", "plan", "report", "rewrite", "status", "verify", "sql"
    imports = "\n".join(f"import harvester.verbs.{verb}" for verb in verbs)
    program = f"import sys\n{imports}\nassert 'aiohttp' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_run_that_asks_nothing_loads_no_functions_of_arrow(manifest: dict[str, Any]) -> None:
    """They take 5% of its time, and nothing is computed where no day is missing."""
    assert harvester.run(manifest).requests > 0
    program = f"import sys, harvester; print(harvester.run({manifest!r}).requests)"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; print('pyarrow.compute' in sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["0", "False"]


def test_every_public_name_is_there() -> None:
    """And an unknown one is an error like any other."""
    for name in dir(harvester):
        assert getattr(harvester, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'harvest'"):
        _ = harvester.harvest  # type: ignore[attr-defined]


def described() -> str:
    """Return the public names with their signatures, a line each."""
    lines = []
    for name in dir(harvester):
        value = getattr(harvester, name)
        if inspect.isclass(value):
            members = [
                f"    {member}{inspect.signature(getattr(value, member))}"
                for member in sorted(
                    {x for each in value.__mro__ if is_ours(each) for x in vars(each)}
                )
                if not member.startswith("_") and inspect.isroutine(getattr(value, member))
            ]
            lines += [f"class {name}", *members]
        elif callable(value):
            lines.append(f"{name}{inspect.signature(value)}")
    return "\n".join(lines) + "\n"


def test_the_signatures_are_those_that_are_written_down() -> None:
    """Each change of them is a change of this file, and of the changelog."""
    assert described() == SIGNATURES.read_text("utf-8")


LEFT_OUT = {
    "shard": "each task has its own",
    "processes": "a task is one of many",
    "refetch": "a task that Spark repeats would ask again",
    "until_attention": "a task does not wait",
    "until_complete": "a task that waits holds a slot of the cluster",
    "wait": "a task does not wait",
    "ignore_spent_quota": "a task that Spark repeats would forget what the first one spent",
    "on_event": "the tasks run elsewhere",
    "progress": "the tasks run elsewhere",
}
"""Arguments of `run` that a harvest on Spark does not take."""


def test_run_async_takes_the_arguments_of_run() -> None:
    """One signature for both, for help and for type checkers."""
    assert inspect.signature(harvester.run_async) == inspect.signature(harvester.run)
    assert inspect.iscoroutinefunction(harvester.run_async)


def test_a_harvest_on_spark_takes_the_arguments_of_run() -> None:
    """The same names, types and defaults, but for those that make no sense there."""
    pytest.importorskip("pyspark")
    from harvester.readers.spark import AnyOutcome, harvest  # noqa: PLC0415 - needs pyspark

    # What is invalid is raised before any shard begins.
    assert {*get_args(AnyOutcome)} == {*harvester.Outcome} - {harvester.Outcome.INVALID}

    of_run = dict(inspect.signature(harvester.run).parameters)
    of_spark = inspect.signature(harvest).parameters
    assert of_run.keys() - of_spark.keys() == LEFT_OUT.keys()
    assert of_spark.keys() - of_run.keys() == {"spark", "shards", "accept", "forward_env"}
    # A task that takes over from a killed one finds its lock.
    of_run["lock_timeout"] = of_run["lock_timeout"].replace(default="10m")
    for name in of_run.keys() & of_spark.keys():
        assert of_spark[name] == of_run[name]


@pytest.mark.slow
def test_a_program_s_type_checker_sees_everything(tmp_path: Path) -> None:
    """In strict mode, from outside of the package."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(file)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stdout
