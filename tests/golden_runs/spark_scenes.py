"""Scenes of harvests on a local Spark: two tasks at once, and a task that dies is repeated once."""

from __future__ import annotations

from tests.golden_runs.process_scenes import in_buckets, wait_at
from tests.golden_runs.registry import scene
from tests.golden_runs.spark_driver import driver
from tests.golden_runs.stage import Stage, appid


@scene(when="slow", is_on_spark=True)
def spark(stage: Stage) -> None:
    """A shard is partial; that is no accepted outcome; a worker is lost; nothing is left."""
    in_buckets(stage)
    stage.world.fail(appid(1), 48001)
    with driver(stage) as started:
        started.harvest()
        started.harvest(accept=["complete"])
        stage.world.heal(appid(1))
        stage.days("2026-05-01", "2026-05-06")
        before = stage.calls()
        wait_at(stage, 5, 6, times=1)
        started.begin()
        # All of the first shard, and two of the second one, which are in flight.
        stage.wait_for_calls(before + 5 + 2)
        started.kill_task("0001-of-0004.lock")
        started.finish()
        started.harvest()
