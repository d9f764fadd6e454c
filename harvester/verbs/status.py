"""`status`: covered, missing, suspicious and quarantined days."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

from harvester.catalogue.error_codes import rule_for
from harvester.core import calendar
from harvester.core.config import parsers
from harvester.core.config.settings import Manifest
from harvester.core.day_states import ExplainedDays
from harvester.core.errors import UsageError
from harvester.core.plain import Brief, plain
from harvester.core.results import PausedAccount, QuotaUse
from harvester.manifest.doubts import doubts
from harvester.manifest.narrowing import Selection
from harvester.manifest.option_values import option, spelled
from harvester.manifest.pause_lines import Refused, pause_lines
from harvester.planning import bucket_sizing, wanted_days
from harvester.planning.wanted_days import Wanted
from harvester.runs.attention_finder import of_files, open_attention
from harvester.runs.days.missing_days import MAX_RECORDS, RunHistory
from harvester.runs.record import absent_rows
from harvester.runs.record.account_report import DatasetSummary, summarise_states
from harvester.runs.record.attention import Attention
from harvester.runs.record.expectations import Expectation, judge
from harvester.runs.record.next_requests import NO_REQUESTS, NextRequests, next_requests
from harvester.runs.record.run_record import plain_row, plain_silence
from harvester.runs.record.statement import statement
from harvester.runs.runtime import Project
from harvester.storage import coverage_scan, layout
from harvester.storage.account_scan import States
from harvester.storage.backends.claims import Owner
from harvester.storage.empty_everywhere import EmptyEverywhere, empty_everywhere
from harvester.storage.layout import Tree
from harvester.storage.publication import QuarantinedDay
from harvester.storage.state import manifests, run_records
from harvester.storage.state.quota_ledger import quota_use
from harvester.storage.state.run_records import RunRecord
from harvester.verbs import arguments
from harvester.verbs.account_status import (
    AccountStatus,
    DaysOfAccount,
    MissingDays,
    UnlistedAccount,
    account_days,
    account_statuses,
    missing_days,
    unlisted_accounts,
)
from harvester.verbs.arguments import AnyDay, ManifestSource, Names
from harvester.verbs.gate import Gate, Required, Trouble, read_gate
from harvester.verbs.project import open_project

LAST_RUNS = 5
"""Number of run records that are shown, newest first."""


@dataclass(frozen=True, slots=True, repr=False)
class Status(Brief):
    """The state of all days that a manifest wants, read from the files alone.

    ``datasets`` counts account-days by state, ``gaps`` has the missing days by account and reason,
    and ``suspicious`` the empty days between days with rows that nothing explains. ``runs`` are
    the last five, newest first, and the last finished ones. ``warnings`` are about files that would
    grow too large. ``accounts`` has the worst ones first and the paused ones last. ``unusable``
    counts the quarantined account-days without an earlier good answer. ``foreign`` are files in the
    datasets' folders that are not harvester's. ``gate`` is the answer about required days, if some
    were. ``paused`` accounts are in none of the others but ``accounts``. ``next_requests`` is the
    price of a next run. ``owners`` are the holders of buckets, and ``unlisted`` the accounts of the
    output that are in no manifest, ``quota`` the use of today's quotas, each None if they were not
    asked for. ``empty_everywhere`` are days without rows of nearly all accounts, ``expectations``
    those of the manifest that were judged. ``attention`` is what needs a person, and
    ``pause_lines`` would pause what was refused, put into the manifest. ``statement`` says that the
    newest day is not ready, or that nothing is wanted. ``rowless`` is True if the whole output has
    no row although it ought to.
    """

    datasets: tuple[DatasetSummary, ...]
    accounts: tuple[AccountStatus, ...]
    gaps: tuple[MissingDays, ...]
    suspicious: tuple[DaysOfAccount, ...]
    quarantined: tuple[QuarantinedDay, ...]
    unusable: int
    runs: tuple[RunRecord, ...]
    foreign: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    gate: Gate | None = None
    next_requests: NextRequests = NO_REQUESTS
    paused: tuple[PausedAccount, ...] = ()
    owners: tuple[Owner, ...] | None = None
    unlisted: tuple[UnlistedAccount, ...] | None = None
    empty_everywhere: tuple[EmptyEverywhere, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    attention: tuple[Attention, ...] = ()
    pause_lines: tuple[str, ...] = ()
    quota: tuple[QuotaUse, ...] | None = None
    statement: str | None = None
    rowless: bool = False

    @property
    def complete(self) -> bool:
        """True if every day that is wanted and ready has a usable answer, and some day has rows.

        A provisional answer is enough, so no day becomes a gap because midnight passed.
        """
        return not (self.gaps or self.unusable or self.rowless)

    @property
    def last_shards(self) -> list[RunRecord]:
        """The last finished run, or the last one of each shard."""
        return run_records.last_of_shards(self.runs)

    def to_dict(self) -> dict[str, Any]:
        """Return the status as `status --format json` prints it."""
        members = plain(self)
        del members["unusable"], members["next_requests"]
        members["datasets"] = list(map(plain_row, self.datasets))
        for found, own in ((self, members), (self.gate, members["gate"])):
            if isinstance(found, Status | Gate):
                own["expectations"] = [each.to_dict() for each in found.expectations]
                own["empty_everywhere"] = plain_silence(found.empty_everywhere)
        members["attention_new"] = sum(item.new for item in self.attention)
        members["attention_total"] = len(self.attention)
        return {"complete": self.complete, **members}


@arguments.checked
def status(
    manifest: ManifestSource | None = None,
    *,
    accounts: Names = None,
    datasets: Names = None,
    jobs: Names = None,
    begin_date: AnyDay = None,
    end_date: AnyDay = None,
    output: str | os.PathLike[str] | None = None,
    require: AnyDay = None,
    final: bool = False,
    at_least: str | None = None,
    owners: bool = False,
    unlisted: bool = False,
    quota: bool = False,
) -> Status:
    """Return the coverage of an output. Reads the files alone and needs no secret.

    With ``require`` its ``gate`` tells whether every wanted day up to that one is there:
    ``"yesterday"`` is Beijing's, asked of what wants it, ``"ready"`` the newest ready day. With
    ``final`` provisional answers are not enough, and with ``at_least``, such as ``"95%"``, that
    share of the days is. With ``owners`` it names the runs that hold buckets, and with ``unlisted``
    the accounts of the output that are in no manifest; with ``quota`` it has the use of today's
    quotas. Without a manifest the wanted days are what the last runs kept of theirs in ``output``.
    Raises UsageError, and HarvesterError if the output cannot be read.
    """
    chosen = arguments.selection(accounts, datasets, jobs, begin_date, end_date)
    project = open_to_read(manifest, chosen, output)
    now, required = project.clock.started_at, None
    if require is not None:
        today = calendar.today(now)
        day = option("require", require, lambda text: parsers.required_day(text, today))
        share = option("at_least", at_least, parsers.percentage)
        moment, of_wanting = project.clock.moment(), require == "yesterday"
        required = Required(day, final, moment, share, of_wanting)
    elif final or at_least is not None:
        part = spelled("final" if final else "at_least")
        raise UsageError(f"{part} is a part of {spelled('require')}", "give both")
    found = survey(project.manifest, project.tree, now, required)
    return replace(
        found,
        owners=tuple(project.tree.store.owners()) if owners else None,
        unlisted=tuple(_unlisted(project)) if unlisted else None,
        quota=tuple(quota_use(project.manifest, project.tree, now)) if quota else None,
    )


def open_to_read(
    manifest: ManifestSource | None, chosen: Selection, output: str | os.PathLike[str] | None
) -> Project:
    """Open a project of which days are wanted. Raises as `open_project`."""
    project = open_project(manifest, chosen, output)
    if not project.manifest.accounts:
        where = project.tree.store.display_path()
        what = f"{where}: no run has kept here what its manifest wants"
        raise UsageError(what, "name the manifest; the next run keeps it")
    return project._replace(tree=project.tree.listed_once())


def _unlisted(project: Project) -> list[UnlistedAccount]:
    """Return the accounts that neither the whole manifest nor one that a run has kept has."""
    known = {account.appid for account in project.whole.accounts}
    for _, kept in manifests.read(project.tree):
        known |= kept.appids if kept else set()
    return unlisted_accounts(project.tree, known)


class Findings(NamedTuple):
    """The wanted days of an output, as the files and the run records have them.

    ``want`` and ``states`` include paused accounts, the states of ``history`` do not. ``missing``
    are the days without an answer by their accounts. ``silent`` are the days that are empty
    everywhere, ``rejected`` those in quarantine. ``accounts`` are sorted as in `Status`, and
    ``rowless`` is as there.
    """

    want: Wanted
    states: dict[str, dict[str, States]]
    history: RunHistory
    missing: dict[str, list[ExplainedDays]]
    silent: tuple[EmptyEverywhere, ...]
    rejected: tuple[QuarantinedDay, ...]
    expectations: tuple[Expectation, ...]
    attention: tuple[Attention, ...]
    accounts: list[AccountStatus]
    rowless: bool


def find(manifest: Manifest, tree: Tree, want: Wanted, now: float) -> Findings:
    """Read the state of all wanted days at ``now``, in seconds since the Unix epoch.

    ``want`` are those of the accounts that are not paused. Raises StoreError, and UsageError for
    files of a newer version or another number of buckets.
    """
    with_paused = wanted_days.wanted(manifest, now, paused_too=True)
    scan = coverage_scan.read(tree, with_paused, now, manifest.datasets)
    all_states, silent = scan.states, tuple(empty_everywhere(scan, now))
    states = scan.of(want).states
    lacking = dict(coverage_scan.lacking(states, want))
    history = RunHistory(manifest, tree, now, states)
    lacks = defaultdict[str, list[ExplainedDays]](list)
    for item in history.explain(lacking, MAX_RECORDS):
        lacks[item.appid].append(item)
    judged = judge(manifest, want, states, _lost(lacks), now)
    rejected = tuple(coverage_scan.quarantined_days(tree, states))
    absent = absent_rows.absent_rows(manifest, states, now)
    rowless = manifest.is_whole and absent.is_rowless
    shown = [*of_files(rejected, silent, judged)]
    shown += absent_rows.attention_of(absent, now, silent, rowless=rowless)
    attention = open_attention(manifest, tree, lacking.keys(), shown)
    since = manifests.paused_since(tree) if wanted_days.paused_accounts(manifest) else {}
    accounts = account_statuses(manifest, with_paused, all_states, lacks, now, since=since)
    every = history, lacks, silent, rejected, judged, attention, accounts, rowless
    return Findings(with_paused, all_states, *every)


def survey(manifest: Manifest, tree: Tree, now: float, required: Required | None = None) -> Status:
    """Read the status at ``now``, and judge the required days. Raises as `find`."""
    want = wanted_days.wanted(manifest, now)
    found = find(manifest, tree, want, now)
    states, names = found.history.states, manifest.names
    every = (state for of_dataset in states.values() for state in of_dataset.values())
    refused, paused = _refused(manifest, found.missing), wanted_days.paused_accounts(manifest)
    next_ready_at, is_wanted = wanted_days.next_ready_at(manifest, now), any(want.values())
    trouble = Trouble(found.silent, found.attention, found.expectations, found.rowless)
    return Status(
        datasets=tuple(summarise_states(want, states, _lost(found.missing))),
        accounts=tuple(found.accounts),
        gaps=tuple(missing_days(names, chain.from_iterable(found.missing.values()))),
        suspicious=tuple(account_days(names, coverage_scan.gaps(states))),
        quarantined=found.rejected,
        unusable=sum(calendar.count_days(state.unanswered) for state in every),
        runs=tuple(run_records.last(tree, LAST_RUNS)),
        foreign=tuple(layout.unmanaged_files(tree, want)),
        warnings=(*doubts(manifest), *bucket_sizing.warnings(manifest, want)),
        next_requests=next_requests(manifest, want, states),
        gate=required and read_gate(required, found.history, trouble),
        empty_everywhere=found.silent,
        expectations=found.expectations,
        attention=found.attention,
        pause_lines=tuple(pause_lines(manifest, refused, calendar.today(now))),
        paused=paused,
        rowless=found.rowless,
        statement=statement(now, next_ready_at, is_wanted=is_wanted, paused=len(paused)),
    )


def _lost(missing: Mapping[str, list[ExplainedDays]]) -> set[tuple[str, str, str]]:
    """Return the datasets and appids of missing days, each with the reason."""
    return {(item.dataset, item.appid, item.reason) for each in missing.values() for item in each}


def _refused(manifest: Manifest, lacks: Mapping[str, list[ExplainedDays]]) -> Iterator[Refused]:
    """Yield the refusals of missing days, with the datasets unless they are all of an account."""
    for account, names in manifest.datasets_of_accounts():
        lost = [each for each in lacks.get(account.appid, ()) if each.at is None]
        for errcode in dict.fromkeys(each.errcode for each in lost if each.reason == "refused"):
            datasets = {each.dataset for each in lost if each.errcode == errcode}
            # Only tokens are refused without a code: none came, it was shared, or it was not kept.
            meaning = "no token to use" if errcode is None else rule_for(errcode).meaning
            some = () if datasets == {*names} else tuple(sorted(datasets))
            yield Refused(account.appid, some, errcode, meaning)
