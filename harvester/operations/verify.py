"""Every file of an output against itself: damage, the days it costs, and their repair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from harvester.core import calendar
from harvester.core.calendar import Day, DaySet, Month
from harvester.core.dataset import Dataset
from harvester.core.errors import OtherVersion
from harvester.core.model import bucket_of
from harvester.operations.runtime import Project, start_summary
from harvester.operations.session import locked
from harvester.planning import windows
from harvester.planning.windows import Wanted
from harvester.storage import integrity_check, layout, quarantine, raw_log, unmanaged_files
from harvester.storage.layout import Partition, Tree
from harvester.storage.raw_log import DamagedGroup
from harvester.tables import integrity
from harvester.tables.integrity import FileIdentity


class Lost(NamedTuple):
    """Days of an account, ``begin`` to ``end``; the appid is empty if the account is unknown."""

    appid: str
    begin: Day
    end: Day


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that cannot be believed.

    ``lost`` are the days that have to be asked again if nothing better is found. ``remedy`` tells
    what to do about a file that is whole and of another version; it is empty for all others.
    ``moved_to`` is where `repair` put it.
    """

    path: str
    dataset: str | None
    ref_month: str | None
    flaws: tuple[str, ...]
    lost: tuple[Lost, ...]
    remedy: str = ""
    moved_to: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of looking at all files. ``foreign`` are files that are not harvester's."""

    files: int
    rows: int
    groups: int
    damaged: tuple[Damage, ...]
    foreign: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """True if every file can be believed."""
        return not self.damaged


class _Seen(NamedTuple):
    rows: int
    damage: Damage | None


def verify(project: Project, *, read_data: bool = False, repair: bool = False) -> Verdict:
    """Look at every data file and every raw group; with ``read_data`` at every byte of them.

    ``repair`` moves what is damaged to the quarantine: the next run asks for what only it knew.
    Raises StoreError if something cannot be read at all, UsageError for a tree with another number
    of buckets, and, to repair, Busy if a run is at work.
    """
    if not repair:
        return _look(project, read_data=read_data)
    tree, run = project.tree, start_summary(project.manifest.file, project.clock.started_at)
    with locked(tree, range(tree.buckets), run):
        found = _look(project, read_data=read_data)
        repaired = (_repaired(tree, each, run.run_id) for each in found.damaged)
        return replace(found, damaged=tuple(repaired))


def _look(project: Project, *, read_data: bool) -> Verdict:
    manifest, tree, now = project.manifest, project.tree, project.clock.started_at
    want = windows.wanted(manifest, now)
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
        foreign=tuple(unmanaged_files.files(tree, manifest.datasets)),
    )


def _repaired(tree: Tree, damage: Damage, run_id: str) -> Damage:
    if damage.remedy:
        return damage
    if damage.dataset:
        return replace(damage, moved_to=quarantine.quarantine_file(tree, damage.path, run_id))
    return replace(damage, moved_to=quarantine.quarantine_group(tree, damage.path))


def _look_at(
    tree: Tree, want: Wanted, dataset: Dataset, partition: Partition, *, read_data: bool
) -> _Seen:
    place = FileIdentity(dataset, partition.month, partition.bucket, tree.buckets)
    name = tree.name(partition)
    with tree.store.local_copy(name, tree.temp(partition.bucket, f"{dataset.name}.verify")) as copy:
        if copy is None:
            return _Seen(0, None)
        found = integrity_check.check_file(copy.path, place, read_data=read_data)
    if not found.defects:
        return _Seen(found.rows, None)
    lost = integrity.merged(found.defects)
    if found.coverage is None:
        lost = _wanted_of(want.get(dataset.name, {}), place)
    damage = Damage(
        path=name,
        dataset=dataset.name,
        ref_month=calendar.month_text(partition.month),
        flaws=tuple(dict.fromkeys(flaw.what for flaw in found.defects)),
        lost=tuple(_lost(partition.month, lost)),
        remedy=found.remedy,
    )
    return _Seen(found.rows, damage)


def _wanted_of(wanted: Mapping[str, DaySet], place: FileIdentity) -> dict[str, int]:
    """Return what the manifest wants of a file that cannot tell what it knows."""
    masks = {
        appid: calendar.month_mask(of_account, place.month)
        for appid, of_account in wanted.items()
        if bucket_of(appid, place.buckets) == place.bucket
    }
    return {appid: mask for appid, mask in masks.items() if mask}


def _lost(month: Month, lost: Mapping[str, int]) -> Iterator[Lost]:
    for appid in sorted(lost):
        for first, last in calendar.day_ranges(calendar.from_month_mask(lost[appid], month)):
            yield Lost(appid, first, last)


def _groups(tree: Tree) -> Iterator[_Seen]:
    """Look at the answers that wait to be published; a damaged group's are asked again.

    Raises StoreError for one that the system will not give us: it may be whole or not.
    """
    names = raw_log.group_names(tree)
    for name, path in zip(names, tree.store.copies(names), strict=True):
        if path is None:
            continue
        try:
            group = raw_log.open_group(name, path)
            for dataset, month in sorted(group.months):
                for _ in group.answers(dataset, month):
                    pass
        except DamagedGroup:
            # A run that goes on meanwhile removes groups that it has published.
            if name in raw_log.group_names(tree):
                yield _Seen(0, Damage(name, None, None, ("answers that cannot be read",), ()))
                continue
        except OtherVersion as error:
            flaw = error.problem.removeprefix(f"{name}: ")
            yield _Seen(0, Damage(name, None, None, (flaw,), (), error.advice))
            continue
        yield _Seen(0, None)
