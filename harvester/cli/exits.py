"""Which exit codes the user takes for fine. Loads next to nothing, so that help stays quick."""

from __future__ import annotations

from harvester.errors import Exit, UsageError


def parse_ok_exit(text: str) -> frozenset[int]:
    """Read ``3,75`` as exit codes."""
    codes = [part.strip() for part in text.split(",") if part.strip()]
    known = {str(int(code)) for code in Exit}
    for code in codes:
        if code not in known:
            raise UsageError(
                f"--ok-exit {code!r} is no exit code of harvester",
                f"It has {', '.join(sorted(known, key=int))}.",
            )
    return frozenset(map(int, codes))
