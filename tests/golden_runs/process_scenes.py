"""Scenes of runs in several processes.

Accounts 1, 2, 3, 4 and 7 are the first shard's and 5, 6 and 8 the second one's. Each shard asks one
account after the other, so an account that does not answer comes last if it is 7 or 8.
"""

from __future__ import annotations

import signal
import subprocess

from harvester.sandbox import ANYONE, TOKEN
from tests.golden_runs.registry import scene
from tests.golden_runs.stage import DAILY, HOURLY, Stage, appid
from tests.support.faulty_wechat import Fault
from tests.support.shared_runs import process_of_shard

TWO = ("--processes", "2")
LAST = (7, 8)
"""The last account of each shard."""

OF_A_KILLED_PROCESS = ("requests", "token_calls", "retries", "bytes", "zero")
"""Counts of which a process that is killed may not have told the last ones, or any."""


def in_buckets(stage: Stage) -> None:
    """Let eight accounts have four buckets and two connections."""
    stage.accounts(8)
    stage.manifest["output"]["buckets"] = 4
    stage.manifest["limits"]["connections"] = 2


def wait_at(stage: Stage, *numbers: int, delay: float = 60.0, times: int | None = None) -> None:
    """Let the answers of some accounts come too late for the scene."""
    for number in numbers:
        stage.world.fail(appid(number), Fault(delay=delay), times=times)


@scene()
def processes(stage: Stage) -> None:
    """Two processes, then nothing left for them."""
    in_buckets(stage)
    stage.manifest["jobs"][0]["datasets"] = [DAILY, HOURLY]
    stage.run_in_processes()
    stage.run_in_processes()


@scene(when="long")
def processes_partial(stage: Stage) -> None:
    """One account of each shard is refused: of its data, and of its token."""
    in_buckets(stage)
    stage.world.fail(appid(1), 48001)
    stage.world.fail(appid(5), 40125, dataset=TOKEN)
    stage.run_in_processes()


@scene(loose=("advice",), when="slow")
def processes_unauthorised(stage: Stage) -> None:
    """No account of any shard gets a token."""
    in_buckets(stage)
    stage.world.fail(ANYONE, 40125, dataset=TOKEN)
    stage.run_in_processes()


@scene(when="slow")
def processes_too_many_requests(stage: Stage) -> None:
    """The plan of all shards is larger than ``max_requests``."""
    in_buckets(stage)
    stage.manifest["limits"]["max_requests"] = 7
    stage.run_in_processes()
    stage.manifest["limits"]["max_requests"] = 8
    stage.run_in_processes()


# The shard that waits for its lock and the one that plans are processes that race.
@scene(loose=("first",), when="slow")
def processes_busy(stage: Stage) -> None:
    """Another run holds the first shard; then one holds both."""
    in_buckets(stage)
    # Of all its accounts, so that it never publishes what the run beside it would find.
    wait_at(stage, 1, 2, 3, 4, 7)
    other = stage.start("--shard", "1/2")
    stage.wait_for_calls(2)
    _run_beside(stage, other)
    other = stage.start()
    stage.wait_for_calls(2 + 3 + 2)
    _run_beside(stage, other)


def _run_beside(stage: Stage, other: subprocess.Popen[str]) -> None:
    stage.hide(other.pid)
    stage.run_in_processes()
    other.kill()
    other.communicate()


@scene(when="long")
def processes_stopped(stage: Stage) -> None:
    """SIGTERM while each shard awaits its last answer; the next run asks for nothing else."""
    in_buckets(stage)
    wait_at(stage, *LAST)
    process = stage.start(*TWO)
    stage.wait_for_calls(8)
    process.terminate()
    stage.finish(process, *TWO)
    for number in LAST:
        stage.world.heal(appid(number))
    stage.run_in_processes()


@scene(when="slow")
def processes_out_of_time(stage: Stage) -> None:
    """The first answer of each shard comes late, and the other accounts are not asked."""
    in_buckets(stage)
    # Half a minute, because on a busy machine the first requests are made seconds after the start.
    wait_at(stage, 1, 5, delay=35.0)
    stage.run_in_processes("--max-duration", "30s")


@scene(loose=OF_A_KILLED_PROCESS, when="slow")
def process_is_killed(stage: Stage) -> None:
    """The process of the second shard dies at its first request, and another one goes on."""
    in_buckets(stage)
    wait_at(stage, 5, times=1)
    _run_with_deaths(stage, 1)


@scene(loose=OF_A_KILLED_PROCESS, when="slow")
def process_is_killed_twice(stage: Stage) -> None:
    """So does the other one, and the shard is given up; the next run has all of it."""
    in_buckets(stage)
    wait_at(stage, 5, times=2)
    _run_with_deaths(stage, 2)
    stage.run_in_processes()


def _run_with_deaths(stage: Stage, deaths: int) -> None:
    process = stage.start(*TWO)
    for death in range(1, deaths + 1):
        # All of the first shard, and one call of each process of the second one.
        stage.wait_for_calls(5 + death)
        victim = process_of_shard("2/2", process.pid)
        stage.hide(victim.pid)
        victim.send_signal(signal.SIGKILL)
    stage.finish(process, *TWO)
