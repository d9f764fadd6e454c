"""Lines of what needs a person, one for each cause: new ones first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console

from harvester.cli.output.answers import print_line, print_lines
from harvester.cli.output.phrases import listed
from harvester.core.text.counts import counted
from harvester.core.text.inert_text import inert, named
from harvester.runs.record.attention import Attention


def print_attention(out: Console, found: Sequence[Attention]) -> None:
    """Print the items that have a cause and a beginning in common in one line, if there are any."""
    if not found:
        return
    new = sum(item.new for item in found)
    print_line(out, f"needs a person: {len(found):,}{f', {new:,} new' if new else ''}", gap=True)
    ordered = sorted(found, key=_kind)
    print_lines(out, [_line(list(items)) for _, items in groupby(ordered, _kind)])


def _kind(item: Attention) -> tuple[bool, str, str, int]:
    return not item.new, item.since, item.cause, item.errcode or 0


def _line(items: Sequence[Attention]) -> str:
    first = items[0]
    code = "" if first.errcode is None else f" ({first.errcode})"
    accounts = {each.appid: each.name for item in items for each in item.accounts}
    datasets = sorted({name for item in items for name in item.datasets})
    names = listed(named(appid, name) for appid, name in accounts.items())
    parts = [f"{first.cause}{code}"]
    if accounts:
        many = counted(len(accounts), "account")
        parts.append(names if len(accounts) == 1 else f"{many} ({names})")
    if datasets:
        parts.append(datasets[0] if len(datasets) == 1 else counted(len(datasets), "dataset"))
    when = "new" if first.new else f"since {first.since}"
    return inert(f"{when}: {', '.join(parts)}")
