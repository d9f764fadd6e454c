"""Draws mutations and tells those that no test notices, or plants the sabotages that are written.

::

    python -m tests.sabotage [--count N] [--seed N] [--since REVISION] [--minutes N]
    python -m tests.sabotage --written [NAME...]
"""

from __future__ import annotations

import secrets
import sys
from argparse import ArgumentParser
from functools import partial

from tests.sabotage.mutations import changed_line, changed_lines, drawn
from tests.sabotage.nearest import Nearest
from tests.sabotage.patches import SABOTAGES
from tests.sabotage.run import ROOT, chosen, report
from tests.sabotage.shares import EQUIVALENT
from tests.sabotage.survivors import tell_shares, tell_survivors

_TELL = partial(print, flush=True)


def draw(count: int, seed: int, since: str | None, seconds: float) -> int:
    """Try drawn mutations; return 1 for a survivor of a change, or for a room above its share."""
    lines = changed_lines(ROOT, since) if since else None
    mutations = [
        each
        for each in drawn(ROOT, count=count, seed=seed, lines=lines)
        if (each.file, *changed_line((ROOT / each.file).read_bytes(), each)) not in EQUIVALENT
    ]
    _TELL(f"{len(mutations)} mutations by seed {seed}" + f" on lines since {since}" * bool(since))
    if not mutations:
        return 0
    nearest = Nearest(ROOT)
    nearest.measure()
    ended = tell_survivors(mutations, nearest, _TELL, seconds=seconds)
    if unbegun := len(mutations) - len(ended):
        _TELL(f"{unbegun} were not begun in time")
    above = tell_shares(ended, _TELL)
    return int(any(not each.caught_by for each in ended) if since else bool(above))


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m tests.sabotage", description=__doc__.splitlines()[0])
    parser.add_argument("--written", nargs="*", metavar="NAME", help="plant these, or all")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--since", metavar="REVISION", help="draw from the lines changed since")
    parser.add_argument("--minutes", type=float, default=120, help="begin no mutation after these")
    given = parser.parse_args()
    if given.written is not None:
        known = {sabotage.name: sabotage for sabotage in SABOTAGES}
        sys.exit(report(chosen(given.written, known), _TELL))
    sys.exit(draw(given.count, given.seed, given.since, given.minutes * 60))
