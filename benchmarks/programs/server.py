"""The server: a sandbox on a free port, with its address on the first line of stdout."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from benchmarks.cached_answers import CachedWeChat
from harvester.catalogue import CATALOGUE
from harvester.sandbox.server import run
from tests.support.counting_wechat import StrictRules


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cached-answers", type=int, default=5_000)
    parser.add_argument("--rate", type=int)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--span", type=int, default=1, help="days that it answers at least")
    options = parser.parse_args()
    for name, dataset in CATALOGUE.items():
        CATALOGUE[name] = replace(dataset, span=max(dataset.span, options.span))
    rules = StrictRules(
        window_limit=None if options.rate is None else (options.rate, 1.0),
        latency=options.latency,
        latency_jitter=options.latency,
        fault_rate=options.faults,
    )
    wechat = CachedWeChat(rules, time.time, most=options.cached_answers)
    run(wechat, announce=lambda address: print(address, flush=True))


if __name__ == "__main__":
    main()
