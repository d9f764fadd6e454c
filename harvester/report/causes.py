"""What kept a run from being whole, by cause."""

from __future__ import annotations

from collections.abc import Iterator

from harvester.lanes import Gone
from harvester.wire import Refusal


def grouped(gone: list[Gone]) -> Iterator[tuple[Gone, int, int]]:
    """The exceptions of a run by what they say: an example, how many windows, how many accounts."""
    alike: dict[tuple[object, ...], list[Gone]] = {}
    for item in gone:
        why = item.why
        # What a command says of its failure often names the account.
        code = why.errcode if isinstance(why, Refusal) else why.replace(item.appid, "{appid}")
        alike.setdefault((code, item.rule.action, item.dataset), []).append(item)
    for items in sorted(alike.values(), key=len, reverse=True):
        yield items[0], sum(item.count for item in items), len({item.appid for item in items})
