"""The shard of an engine's index: zero-based where engines count so, and refused if in doubt."""

from __future__ import annotations

import pytest

from harvester.core.errors import UsageError
from harvester.planning.engine_shard import shard_of_engine


def slurm(task: int, first: int, count: int) -> dict[str, str]:
    """Return the variables of a task of an array."""
    told = {"ID": task, "MIN": first, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in told.items()}


@pytest.mark.parametrize(
    ("environ", "shard"),
    [
        ({"JOB_COMPLETION_INDEX": "0", "HARVESTER_SHARDS": "4"}, (1, 4)),
        ({"JOB_COMPLETION_INDEX": "3", "HARVESTER_SHARDS": "4"}, (4, 4)),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "10"}, (1, 10)),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "9", "HARVESTER_SHARDS": "10"}, (10, 10)),
        ({"CLOUD_RUN_TASK_INDEX": "1", "CLOUD_RUN_TASK_COUNT": "2"}, (2, 2)),
        (slurm(0, 0, 8), (1, 8)),
        (slurm(8, 1, 8), (8, 8)),
        ({"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "3"}, (3, 3)),
        # An empty variable is none.
        (
            {
                "CLOUD_RUN_TASK_INDEX": "1",
                "CLOUD_RUN_TASK_COUNT": "2",
                "JOB_COMPLETION_INDEX": "",
                "HARVESTER_SHARDS": "",
            },
            (2, 2),
        ),
        # Two engines that say the same.
        ({**slurm(2, 1, 4), "JOB_COMPLETION_INDEX": "1", "HARVESTER_SHARDS": "4"}, (2, 4)),
    ],
)
def test_an_index_is_a_shard(environ: dict[str, str], shard: tuple[int, int]) -> None:
    """The first index is the first shard, wherever the engine begins to count."""
    assert shard_of_engine(environ) == shard


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "no engine has set an index; looked for JOB_COMPLETION_INDEX, AWS_BATCH"),
        ({"HARVESTER_SHARDS": "4"}, "no engine has set an index"),
        ({"JOB_COMPLETION_INDEX": "0"}, "the number of shards is not known"),
        ({"JOB_COMPLETION_INDEX": "4", "HARVESTER_SHARDS": "4"}, "is 4, and there are 4 shards"),
        ({"JOB_COMPLETION_INDEX": "0", "HARVESTER_SHARDS": "0"}, "is 0, and there are 0 shards"),
        ({"JOB_COMPLETION_INDEX": "-1", "HARVESTER_SHARDS": "4"}, "is `-1`, and no number"),
        ({"JOB_COMPLETION_INDEX": "1", "HARVESTER_SHARDS": "four"}, "is `four`, and no number"),
        ({"JOB_COMPLETION_INDEX": "9" * 5000, "HARVESTER_SHARDS": "4"}, "and no number"),
        (
            {
                "CLOUD_RUN_TASK_INDEX": "0",
                "CLOUD_RUN_TASK_COUNT": "2",
                "HARVESTER_SHARDS": "4",
            },
            "CLOUD_RUN_TASK_COUNT is 2, HARVESTER_SHARDS is 4",
        ),
        (
            {**slurm(3, 0, 4), "JOB_COMPLETION_INDEX": "1", "HARVESTER_SHARDS": "4"},
            "JOB_COMPLETION_INDEX means 2/4, SLURM_ARRAY_TASK_ID means 4/4",
        ),
        # The last task of an array with gaps.
        (slurm(9, 1, 3), "SLURM_ARRAY_TASK_ID is 9, and there are 3 shards"),
        # The first task of --array=1,2,9: as 1/3 it would run beside two that are refused.
        ({**slurm(1, 1, 3), "SLURM_ARRAY_TASK_MAX": "9"}, "SLURM_ARRAY_TASK_ID is 1, and there"),
        # A part of an array that is submitted again.
        ({**slurm(3, 3, 1), "HARVESTER_SHARDS": "8"}, "COUNT is 1, HARVESTER_SHARDS is 8"),
    ],
)
def test_a_doubtful_index_is_refused(environ: dict[str, str], words: str) -> None:
    """With what was looked at and what to do."""
    with pytest.raises(UsageError, match=r"^shard auto: ") as caught:
        shard_of_engine(environ)
    assert words in caught.value.problem
