"""`verify`: each file against itself, the days that damage costs, and repair."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import chain, groupby
from operator import attrgetter
from typing import Any, NamedTuple

from harvester.core import calendar
from harvester.core.calendar import DaySet
from harvester.core.dataset import Dataset
from harvester.core.errors import OtherVersion, UsageError
from harvester.core.model import DayRange, Partition
from harvester.core.plain import Brief, plain
from harvester.core.text.inert_text import inert
from harvester.manifest.narrowing import ALL, Selection
from harvester.planning import wanted_days
from harvester.runs.days.derived_tables import TablesUpdate
from harvester.runs.run_log import RunLog, locked, new_run_log, recorded
from harvester.runs.runtime import Project
from harvester.storage import (
    coverage_scan,
    footer_index,
    integrity_check,
    layout,
    quarantine,
    raw_log,
)
from harvester.storage.backends.base import FileInfo
from harvester.storage.coverage_scan import day_ranges_of
from harvester.storage.integrity_check import FileCheck
from harvester.storage.layout import Tree
from harvester.storage.publication import Published
from harvester.storage.state import change_reader
from harvester.tables.equal_rows import MIN_DAYS, equal_accounts
from harvester.tables.integrity import FileIdentity
from harvester.verbs.arguments import ManifestSource, checked
from harvester.verbs.changes import ALL_CHANGES, ChosenChanges, chosen_changes
from harvester.verbs.project import open_harvested, union

_MANY = 3
"""Least number of data files that are not repaired if all of them have the same defect."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A damaged or missing file, or one of another version.

    ``path`` counts from the output's root. ``flaws`` are the defects that were found.
    ``lost`` are the days that are asked again unless the file is restored. ``remedy`` is the advice
    for an intact file of another version, and empty for all others. ``moved_to`` is the place in
    the quarantine to which a repair has moved it. ``missing`` files were published and are gone; a
    repair records that.
    """

    path: str
    dataset: str | None = None
    ref_month: str | None = None
    flaws: tuple[str, ...] = ()
    lost: tuple[DayRange, ...] = ()
    remedy: str = ""
    moved_to: str | None = None
    missing: bool = False
    repaired: bool = False


class EqualRows(NamedTuple):
    """Two accounts with equal rows of a dataset, on ``days`` days with rows, in whole months.

    ``names`` are empty where the manifest has none.
    """

    dataset: str
    appids: tuple[str, str]
    days: int
    names: tuple[str, str]


@dataclass(frozen=True, slots=True, repr=False)
class Report(Brief):
    """The result of a verification, as `verify --format json` has it.

    ``files``, ``rows`` and ``groups`` count what was checked. ``damaged`` are damaged or missing
    files, with the days that they cost. ``foreign`` are files in the datasets' folders that are not
    harvester's; query engines may read them. ``equal`` are pairs of accounts whose rows are equal,
    found where data is read: one of them may have been asked with the token of the other.
    """

    files: int
    rows: int
    groups: int
    damaged: tuple[Damage, ...]
    foreign: tuple[str, ...]
    equal: tuple[EqualRows, ...] = ()

    @property
    def undamaged(self) -> bool:
        """True if no damage was found."""
        return not self.damaged

    def to_dict(self) -> dict[str, Any]:
        """Return the report as `verify --format json` prints it."""
        return {"undamaged": self.undamaged, **plain(self)}


@checked
def verify(
    manifest: ManifestSource | None = None,
    *,
    chosen: Selection = ALL,
    output: str | os.PathLike[str] | None = None,
    footers_only: bool = False,
    repair: bool = False,
    lock_timeout: str | timedelta | None = None,
) -> Report:
    """Check every data file and every raw group, each byte of them unless ``footers_only``.

    Files that the change logs name as published, and not as removed, must be there. ``repair``
    moves damaged files to the quarantine, and the next run asks for the days that are lost; a
    record names the files that are gone then. Files of another version are reported and stay. A
    repair waits for another run as long as ``lock_timeout`` says. Without a manifest, ``output`` is
    verified by what runs have kept of theirs. A selection narrows the data files to those that may
    hold a selected day of a selected account. Raw groups are always checked.

    Raises UsageError for a wrong argument and for a tree that is empty or has another number of
    buckets, StoreError if a file cannot be read from the disk, and, to repair, Busy if a run is at
    work, LeaseLost, and UsageError if all of three data files or more have the same defect.
    """
    project = open_harvested(manifest, output, lock_timeout)
    part = chosen_changes(project.manifest, chosen, project.clock.started_at)
    return (mended if repair else _check_all)(project, part, footers_only=footers_only)


def mended(project: Project, chosen: ChosenChanges, *, footers_only: bool) -> Report:
    """Check the output of a project, and repair what is damaged. Raises as `verify`."""
    run_log = new_run_log(project.manifest.file, project.clock, verb="verify --repair")
    own = list(range(project.tree.buckets))
    with locked(project.tree, own, run_log.stream, project.lock_timeout) as tree:
        found = _check_all(project, chosen, footers_only=footers_only)
        # Files of another version stay, so they alone are nothing to record.
        if all(damage.remedy for damage in found.damaged):
            return found
        _refuse_common(found)
        with recorded(run_log):
            run_log.open(tree, own)
            repaired = tuple(_repaired(tree, each, run_log) for each in found.damaged)
            run_log.write_tables = partial(write_coverage, tree, project, run_log)
        return replace(found, damaged=repaired)


def _refuse_common(found: Report) -> None:
    """Raise UsageError if all data files have the same defects, so that no file is to blame."""
    broken = [damage for damage in found.damaged if damage.dataset and not damage.missing]
    if len(broken) == found.files >= _MANY and len({damage.flaws for damage in broken}) == 1:
        raise UsageError(
            f"all {found.files:,} data files have the same defect: {'; '.join(broken[0].flaws)}",
            "nothing was moved: see what wrote them, or if this harvester is to blame",
        )


def write_coverage(tree: Tree, project: Project, run_log: RunLog) -> None:
    """Make the table `coverage` of a tree anew, by what all kept manifests want."""
    now = project.clock.started_at
    whole = union(tree, project.manifest.output, now)
    want = wanted_days.wanted(whole, now, paused_too=True)
    states = coverage_scan.read(tree, want, now, whole.datasets).states
    own, record = range(tree.buckets), run_log.stream.own
    TablesUpdate(tree, own, whole, now, want, states, record).write_coverage({})


def _check_all(project: Project, chosen: ChosenChanges, *, footers_only: bool) -> Report:
    want = wanted_days.wanted(project.manifest, project.clock.started_at, paused_too=True)
    datasets, names = project.manifest.datasets, project.manifest.names
    return check_tree(project.tree, datasets, want, names, chosen, footers_only=footers_only)


def check_tree(
    tree: Tree,
    datasets: Mapping[str, Dataset],
    want: wanted_days.Wanted,
    names: Mapping[str, str],
    chosen: ChosenChanges = ALL_CHANGES,
    *,
    footers_only: bool = False,
) -> Report:
    """Check a tree as `verify` does, and repair nothing. Raises StoreError and UsageError.

    The wanted days of a file are those that it costs if it cannot tell which days it had. ``names``
    are those of the accounts, as far as they are known.
    """
    # Read before the files are listed, because a run may publish more of them meanwhile.
    gone = set(filter(chosen.has_file, change_reader.not_removed(tree)))
    files, rows, found, days = 0, 0, list[Damage | None](), Counter[tuple[str, str, str]]()
    for name, dataset in datasets.items():
        listed, indexed = layout.partitions(tree, dataset.name), footer_index.digests(tree, name)
        partitions = [each for each in listed if chosen.has_file(tree.name(each))]
        gone.difference_update(map(tree.name, partitions))
        for _, of_month in groupby(partitions, attrgetter("month")):
            checks = list[FileCheck]()
            for partition in of_month:
                file = FileIdentity(dataset, *partition[1:], tree.buckets), tree.name(partition)
                checked, damage = _check_file(tree, want, *file, footers_only=footers_only)
                checks.append(checked)
                found.append(damage or _index_damage(tree, partition, listed, checked, indexed))
            files, rows = files + len(checks), rows + sum(each.rows for each in checks)
            days.update(_equal_days(dataset.name, checks))
    groups = list(_check_groups(tree))
    damaged = *filter(None, (*found, *groups)), *_missing(tree, datasets, want, gone)
    foreign = tuple(layout.unmanaged_files(tree, datasets))
    equal = (
        EqualRows(name, (one, other), count, (names.get(one, ""), names.get(other, "")))
        for (name, one, other), count in sorted(days.items())
        if count >= MIN_DAYS
    )
    return Report(files, rows, len(groups), damaged, foreign, tuple(equal))


def _equal_days(dataset: str, checks: list[FileCheck]) -> dict[tuple[str, str, str], int]:
    """Return the pairs of accounts with equal rows in the files of a month, and their days."""
    found = dict[tuple[str, str, str], int]()
    for first, *others in equal_accounts([digest for each in checks for digest in each.digests]):
        known = (each.coverage.account(first) for each in checks if each.coverage)
        days = sum(each.with_rows.bit_count() for each in known)
        # Each with the first of them, because a thousand would make half a million pairs.
        found |= {(dataset, first, other): days for other in others}
    return found


def _missing(
    tree: Tree, datasets: Mapping[str, Dataset], want: wanted_days.Wanted, gone: set[str]
) -> Iterator[Damage]:
    """Yield the published files that were not found and are not there now either."""
    for name in sorted(gone):
        named = layout.parse_name(tree.store, name)
        # Records that a rewrite has copied name files of another number of buckets.
        if named is None or named[1] != tree.buckets or named[0].dataset not in datasets:
            continue
        # Asked once more, because a run beside a verification may have published it meanwhile.
        if tree.store.get(name, 1) is None:
            place = FileIdentity(datasets[named[0].dataset], *named[0][1:], tree.buckets)
            flaw = "missing: the change log says that it was published, and not that it went"
            yield replace(_damage(name, place, [flaw], _wanted_of(want, place)), missing=True)


def _index_damage(
    tree: Tree,
    place: Partition,
    listed: Mapping[Partition, FileInfo],
    checked: FileCheck,
    indexed: Mapping[tuple[str, str], bytes],
) -> Damage | None:
    """Return the damage of an index that has another coverage of a file than its footer."""
    name, _, version = listed[place]
    stated = indexed.get((name, version))
    if (
        stated is None
        or checked.coverage is None
        or stated == footer_index.digest(checked.coverage)
    ):
        return None
    # A run beside the verification may have replaced the file since it was listed.
    if layout.partitions(tree, place.dataset).get(place) != listed[place]:
        return None
    flaw = f"another coverage of {name} than its footer has"
    return Damage(footer_index.name_of(tree, place.dataset, place.bucket), flaws=(flaw,))


def _repaired(tree: Tree, damage: Damage, run_log: RunLog) -> Damage:
    # Since the last one was moved a lease may have ended, and another run may write here.
    tree.hold.check()
    if damage.remedy:
        # Intact and of another version: it stays for a harvester that reads it.
        return damage
    if damage.path.startswith(f"{layout.INDEX}/"):
        # The coverage is read for the tables next, and the index is made of that.
        tree.store.delete(damage.path)
        return replace(damage, repaired=True)
    if damage.dataset is None or damage.ref_month is None:
        moved_to = quarantine.quarantine_group(tree, damage.path)
        return replace(damage, moved_to=moved_to, repaired=True)
    month = calendar.parse_month(damage.ref_month)
    gone = Published(damage.dataset, month, damage.path, op="deleted")
    # A missing file is recorded too: else each later verification would report it again.
    run_log.announce(gone)
    moved_to = quarantine.quarantine_file(tree, damage.path, run_log.run_id)
    run_log.record_published(gone)
    return replace(damage, moved_to=moved_to, repaired=True)


def _check_file(
    tree: Tree, want: wanted_days.Wanted, place: FileIdentity, name: str, *, footers_only: bool
) -> tuple[FileCheck, Damage | None]:
    """Check a data file; return what was found, and its damage if there is any."""
    with tree.store.local_copy(name) as copy:
        if copy is None:
            # Deleted by another run since the listing, which its change log says.
            return FileCheck(), None
        found = integrity_check.check_file(copy.path, name, place, read_data=not footers_only)
    if not found.defects:
        return found, None
    if found.coverage is None:
        # The file cannot say which days it had, so all wanted days of its accounts count as lost.
        lost = _wanted_of(want, place)
    else:
        # All of its days, because a repair moves the file as a whole.
        lost = {
            appid: calendar.from_month_mask(found.coverage.account(appid).covered, place.month)
            for appid in found.coverage.appids
        }
    return found, replace(_damage(name, place, found.defects, lost), remedy=found.remedy)


def _damage(name: str, place: FileIdentity, flaws: list[str], lost: dict[str, DaySet]) -> Damage:
    """Return the damage of a data file. ``lost`` are days by appid."""
    dataset, month = place.dataset.name, calendar.month_text(place.month)
    days = (day_ranges_of(appid, dataset, lost[appid]) for appid in sorted(lost))
    return Damage(name, dataset, month, tuple(flaws), tuple(chain.from_iterable(days)))


def _wanted_of(want: wanted_days.Wanted, place: FileIdentity) -> dict[str, DaySet]:
    """Return the wanted days of a file whose coverage cannot be read."""
    inside = calendar.month_days(place.month)
    of_dataset = want.get(place.dataset.name, {}).items()
    return {appid: wanted & inside for appid, wanted in of_dataset if place.owns(appid)}


def _check_groups(tree: Tree) -> Iterator[Damage | None]:
    """Yield the damage, or None, of each group of unpublished answers; those are asked again.

    Raises StoreError for a group that cannot be read from the disk: it may be intact.
    """
    for name, path in raw_log.local_copies(tree):
        damage = None
        try:
            group = raw_log.open_group(name, path)
            for dataset, month in sorted(group.months):
                for _ in group.answers(dataset, month):
                    pass
        except raw_log.DamagedGroup:
            # A run at work removes groups that it has published: then it is no damage.
            if name in raw_log.group_names(tree):
                damage = Damage(name, flaws=("answers that cannot be read",))
        except OtherVersion as error:
            flaw = error.problem.removeprefix(f"{inert(name)}: ")
            damage = Damage(name, flaws=(flaw,), remedy=error.advice)
        yield damage
