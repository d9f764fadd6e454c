"""Every file of an output against itself: what is damaged, whose days that costs, what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from harvester import audit, days, plan
from harvester.audit import Place
from harvester.catalogue import Dataset
from harvester.days import DaySet, Month
from harvester.errors import OtherVersion
from harvester.model import Manifest, bucket_of
from harvester.plan import Wanted
from harvester.store import foreign, layout, quarantine, rawlog, soundness
from harvester.store.layout import Partition, Tree
from harvester.store.rawlog import DamagedGroup
from harvester.survey import Stretch


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that cannot be believed.

    ``lost`` are the days that have to be asked again if nothing better is found. ``remedy`` tells
    what to do about a file that is whole and of another version; it is empty for all others.
    ``moved_to`` is where `repair` put it.
    """

    name: str
    dataset: str
    ref_month: str
    flaws: tuple[str, ...]
    lost: tuple[Stretch, ...]
    remedy: str = ""
    moved_to: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What looking at all files came to. ``foreign`` are files that are not harvester's."""

    files: int
    rows: int
    groups: int
    damaged: tuple[Damage, ...]
    foreign: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether every file can be believed."""
        return not self.damaged


class _Seen(NamedTuple):
    rows: int
    damage: Damage | None


def verify(manifest: Manifest, tree: Tree, now: float, *, read_data: bool) -> Verdict:
    """Look at every data file and every raw group; with ``read_data`` at every byte of them.

    ``now`` is in seconds since the Unix epoch. Raises StoreError if something cannot be read at
    all, and UsageError for a tree with another number of buckets.
    """
    want = plan.wanted(manifest, now)
    seen = [
        _look_at(tree, want, dataset, partition, read_data=read_data)
        for dataset in manifest.datasets.values()
        for partition in layout.partitions(tree, dataset.name)
    ]
    groups = list(_groups(tree))
    damaged = [each.damage for each in (*seen, *groups) if each.damage is not None]
    return Verdict(
        files=len(seen),
        rows=sum(each.rows for each in seen),
        groups=len(groups),
        damaged=tuple(damaged),
        foreign=tuple(foreign.files(tree, manifest.datasets)),
    )


def repair(tree: Tree, verdict: Verdict, run_id: str) -> Verdict:
    """Move what is damaged to the quarantine: the next run asks for what only it knew.

    Only for who holds all locks, and looked while holding them. Files of a newer harvester stay.
    Raises StoreError.
    """
    return replace(
        verdict, damaged=tuple(_repaired(tree, each, run_id) for each in verdict.damaged)
    )


def _repaired(tree: Tree, damage: Damage, run_id: str) -> Damage:
    if damage.remedy:
        return damage
    if damage.dataset:
        return replace(damage, moved_to=quarantine.set_file_aside(tree, damage.name, run_id))
    return replace(damage, moved_to=quarantine.set_aside(tree, damage.name))


def _look_at(
    tree: Tree, want: Wanted, dataset: Dataset, partition: Partition, *, read_data: bool
) -> _Seen:
    place = Place(dataset, partition.month, partition.bucket, tree.buckets)
    name = tree.name(partition)
    with tree.store.fetched(name, tree.temp(partition.bucket, f"{dataset.name}.verify")) as copy:
        if copy is None:
            return _Seen(0, None)
        found = soundness.inspect(copy.path, place, read_data=read_data)
    if not found.flaws:
        return _Seen(found.rows, None)
    lost = audit.merged(found.flaws)
    if found.coverage is None:
        lost = _wanted_of(want.get(dataset.name, {}), place)
    damage = Damage(
        name=name,
        dataset=dataset.name,
        ref_month=days.month_text(partition.month),
        flaws=tuple(dict.fromkeys(flaw.what for flaw in found.flaws)),
        lost=tuple(_stretches(dataset.name, partition.month, lost)),
        remedy=found.remedy,
    )
    return _Seen(found.rows, damage)


def _wanted_of(wanted: Mapping[str, DaySet], place: Place) -> dict[str, int]:
    """What the manifest wants of a file that cannot tell what it knows."""
    masks = {
        appid: days.month_mask(of_account, place.month)
        for appid, of_account in wanted.items()
        if bucket_of(appid, place.buckets) == place.bucket
    }
    return {appid: mask for appid, mask in masks.items() if mask}


def _stretches(dataset: str, month: Month, lost: Mapping[str, int]) -> Iterator[Stretch]:
    for appid in sorted(lost):
        for begin, end in days.day_ranges(days.from_month_mask(lost[appid], month)):
            yield Stretch(appid, dataset, begin, end)


def _groups(tree: Tree) -> Iterator[_Seen]:
    """The answers that wait to be published; what a damaged group held is asked again.

    Raises StoreError for one that the system will not give us: it may be whole or not.
    """
    names = rawlog.names(tree)
    for name, path in zip(names, tree.store.copies(names), strict=True):
        if path is None:
            continue
        try:
            group = rawlog.open_group(name, path)
            for dataset, month in sorted(group.touches):
                for _ in group.answers(dataset, month):
                    pass
        except DamagedGroup:
            # A run that goes on meanwhile removes groups that it has published.
            if name in rawlog.names(tree):
                yield _Seen(0, Damage(name, "", "", ("answers that cannot be read",), ()))
                continue
        except OtherVersion as error:
            flaw = error.problem.removeprefix(f"{name}: ")
            yield _Seen(0, Damage(name, "", "", (flaw,), (), error.advice))
            continue
        yield _Seen(0, None)
