"""The mutations that may survive: a share of each room, and those that change nothing."""

from __future__ import annotations

SHARES = {
    "storage": 0.1,
    "scheduling": 0.2,
    "tables": 0.1,
    "runs": 0.2,
    "wechat": 0.25,
    "catalogue": 0.17,
    "cli": 0.22,
    "core": 0.27,
    "engine": 0.25,
    "manifest": 0.27,
    "planning": 0.1,
    "readers": 0.25,
    "root": 0.1,
    "sandbox": 0.17,
    "verbs": 0.18,
}
"""The share of survivors by room, of 300 mutations by three seeds. It may only fall.

The aim is 0.05 for storage, scheduling, tables, runs and wechat, and 0.1 for the others.
"""

_SIZE = "a size or a period that nothing promises"

EQUIVALENT: dict[tuple[str, str, str], str] = {
    (
        "harvester/verbs/changes.py",
        "is_of_month = self.begin_date[:7] <= month <= self.end_date[:7]",
        "is_of_month = self.begin_date[:7] <= month <= self.end_date[:8]",
    ): "a month is before each text that begins with it",
    (
        "harvester/scheduling/account_queue.py",
        "return askable[0] if askable else None",
        "return askable[-1] if askable else None",
    ): "there is one",
    (
        "harvester/tables/corrections.py",
        'return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") or 1',
        'return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") or 0',
    ): "one digest in 2**64 is 0",
    (
        "harvester/signals.py",
        "signal.siginterrupt(number, False)",
        "pass",
    ): "Python itself repeats a system call that a signal has interrupted",
    (
        "harvester/verbs/run.py",
        "if not done.done():",
        "if True:",
    ): "a run that has ended is not cancelled, and waiting for it takes no time",
    (
        "harvester/tables/coverage_rows.py",
        "if not known.packed and not self.accounts:",
        "if False:",
    ): "of no account there are no rows; this saves the work",
    (
        "harvester/storage/account_scan.py",
        "self.counts = counts if any(counts) else _NO_COUNTS",
        "self.counts = counts if True else _NO_COUNTS",
    ): "both are counts of no day; one tuple for all saves memory",
    (
        "harvester/storage/raw_log.py",
        "size = 0",
        "size = -1",
    ): _SIZE,
    (
        "harvester/verbs/lakehouse/news.py",
        "self._read_once = lru_cache(4)(self._read)",
        "self._read_once = lru_cache(5)(self._read)",
    ): _SIZE,
    (
        "harvester/core/calendar.py",
        "@functools.lru_cache(maxsize=16_384)",
        "@functools.lru_cache(maxsize=16385)",
    ): _SIZE,
    ("harvester/engine/raw_writer.py", "GROUP_BYTES = 2 << 20", "GROUP_BYTES = 3 << 20"): _SIZE,
    (
        "harvester/storage/backends/object_store.py",
        "_SHORT_BYTES = 1 << 20",
        "_SHORT_BYTES = 1 << 19",
    ): _SIZE,
    (
        "harvester/storage/backends/object_store.py",
        "_MAX_OTHERS = 2000",
        "_MAX_OTHERS = 2001",
    ): _SIZE,
    (
        "harvester/storage/backends/lease.py",
        "list((map_concurrently if len(items) > 1 else map)(function, items))",
        "list((map_concurrently if len(items) >= 1 else map)(function, items))",
    ): "one item is done in a thread or here",
    (
        "harvester/tables/decode_batch.py",
        "whole = pj.ReadOptions(use_threads=False, block_size=len(data) + 1)",
        "whole = pj.ReadOptions(use_threads=False, block_size=len(data) + 2)",
    ): "each block that is longer than the data holds all of it",
}
"""Lines of a file as they are and as mutations leave them, with why both behave alike."""
