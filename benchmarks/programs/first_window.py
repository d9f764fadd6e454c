"""Planning itself: from a manifest, given as a value, to the first window. Prints the seconds."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

from benchmarks.workload import Broad, read_broad
from harvester.catalogue import CATALOGUE
from harvester.core.config.settings import Account, Credential, Job, Manifest, Output
from harvester.engine.rate_limiter import RateLimiter
from harvester.planning import wanted_days as plan
from harvester.runs.harvest import make_queues
from harvester.scheduling.scheduler import Scheduler
from harvester.storage import coverage_scan
from harvester.storage.layout import open_tree


def main(broad: Broad, root: Path) -> None:
    """Plan over the output at ``root``; without anything missing there is no first window."""
    manifest = manifest_of(broad, root)
    begun = time.perf_counter()
    windows = first_window(manifest, time.time())
    print(json.dumps({"seconds": time.perf_counter() - begun, "windows": windows}))


def first_window(manifest: Manifest, now: float) -> int:
    """Do the work of a run before its first request; return the number of its windows."""
    tree = open_tree(manifest.output)
    want = plan.wanted(manifest, now)
    states = coverage_scan.read(tree, want, now, manifest.datasets).states
    missing = coverage_scan.to_ask(states, want, None)
    windows = plan.summarise(manifest, want, missing).requests
    if windows:
        pace = manifest.limits.per_token
        lanes = make_queues(manifest, want, missing)
        schedule = Scheduler(
            lanes,
            manifest.limits,
            policy=manifest.retry,
            limiter=RateLimiter(pace),
            jitter=random.Random(),
        )
        if schedule.next(now) is None:
            raise RuntimeError("nothing may be asked at once")
    return windows


def manifest_of(broad: Broad, root: Path) -> Manifest:
    """The manifest that a file would give."""
    accounts = tuple(Account(appid, credential=Credential(secret="${S}")) for appid in broad.appids)
    job = Job("job-1", broad.datasets, broad.appids, broad.begin, broad.end)
    return Manifest(
        file=Path("jobs.yaml"),
        accounts=accounts,
        jobs=(job,),
        output=Output(root),
        datasets=CATALOGUE,
    )


if __name__ == "__main__":
    main(read_broad(Path(sys.argv[1])), Path(sys.argv[2]))
