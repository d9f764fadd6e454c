"""Tables beside the datasets, brought up to date by a run for the buckets that it holds.

They are made of the whole manifest, never of what options select of it. See
docs/decisions/0058-derived-tables.md.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harvester.core import calendar
from harvester.core.calendar import DaySet
from harvester.core.config.settings import Manifest
from harvester.core.day_states import NOT_ASKED, Cause, DaysBeside
from harvester.core.model import bucket_of
from harvester.planning.wanted_days import Wanted
from harvester.runs.days.missing_days import RunHistory
from harvester.runs.record.account_report import given_up
from harvester.runs.record.record import Record
from harvester.storage import coverage_scan
from harvester.storage.account_scan import States
from harvester.storage.derived import derived_accounts
from harvester.storage.derived.derived_coverage import CoverageUpdate, data_files
from harvester.storage.layout import Tree
from harvester.storage.state import manifests
from harvester.storage.state.run_records import RunResult


class TablesUpdate(NamedTuple):
    """The tables `accounts` and `coverage` of some buckets, to be brought up to date.

    ``whole`` is the manifest before options narrowed it, and its file is its name in the output.
    ``want`` are all its wanted days at ``now``, in seconds since the Unix epoch, and ``states``
    those of the files. ``record`` is that of the run that ends.
    """

    tree: Tree
    own: Sequence[int]
    whole: Manifest
    now: float
    want: Wanted
    states: dict[str, dict[str, States]]
    record: Record

    def write(self) -> None:
        """Write the files whose rows differ. Raises StoreError and UsageError."""
        first = coverage_scan.first_days(self.states)
        first_rows = {appid: calendar.date_of(day) for appid, day in first.items()}
        derived_accounts.update(self.tree, self.own, self.whole, first_rows, self.now)
        found = manifests.wanted_by_others(self.tree, self.whole.file.name)
        # Of accounts that several manifests have, the last run has the word.
        mine = {name: of_dataset.keys() for name, of_dataset in self.want.items()}
        self.write_coverage({name: found[name].difference(mine.get(name, ())) for name in found})

    def write_coverage(self, others: Mapping[str, set[str]]) -> None:
        """Write the coverage alone. ``others`` are as in `CoverageUpdate`. Raises as `write`."""
        # Listed once: an object store lists thousands of files in many requests.
        files = data_files(self.tree, self.whole.datasets)
        for bucket, days in self._days().items():
            about = self.whole.file.name, self.whole.datasets, files.get(bucket, {})
            CoverageUpdate(self.tree, bucket, *about, days, others).write()

    def _days(self) -> dict[int, dict[str, dict[str, DaysBeside]]]:
        """Return what is known beside the files, by bucket, dataset and appid."""
        explained = self._explained()
        buckets = {name: bucket_of(name, self.tree.buckets) for name in self.whole.names}
        # Nearly all accounts have the same, and the same set of wanted days: hashes of sets of
        # eleven years take time.
        same, kinds = dict[object, DaysBeside](), dict[DaysBeside, DaysBeside]()
        found = {bucket: defaultdict[str, dict[str, DaysBeside]](dict) for bucket in self.own}
        for name, of_dataset in self.want.items():
            states = self.states[name]
            for appid, wanted in of_dataset.items():
                state, causes = states[appid], explained.get((name, appid), ())
                key = id(wanted), state.stretch, state.silent, *causes
                if key not in same:
                    days = DaysBeside(wanted, state.stretch, state.silent, tuple(causes))
                    same[key] = kinds.setdefault(days, days)
                found[buckets[appid]][name][appid] = same[key]
        return {bucket: dict(days) for bucket, days in found.items()}

    def _explained(self) -> Mapping[tuple[str, str], list[Cause]]:
        """Return why days are missing, by dataset and appid, as far as anything tells."""
        accounts = {account.appid: account for account in self.whole.accounts}
        found = defaultdict[tuple[str, str], list[Cause]](list)
        missing: dict[tuple[str, str], DaySet] = {}
        for (name, appid), days in coverage_scan.lacking(self.states, self.want):
            if accounts[appid].pauses(name):
                found[name, appid].append(Cause(days, "paused"))
            else:
                missing[name, appid] = days
        history = RunHistory(self.whole, self.tree, self.now, self.states, result_of(self.record))
        # Each run reads them one by one, and an object store takes some tens of milliseconds each.
        for item in history.explain(missing, 100):
            if item.reason != NOT_ASKED:
                retry_at = None if item.at is None else int(item.at) * 1_000_000
                cause = Cause(item.days, item.word, item.errcode, retry_at)
                found[item.dataset, item.appid].append(cause)
        return found


def result_of(record: Record) -> RunResult:
    """Return what a run that ends gave up, as its record says it."""
    ended = dt.datetime.fromtimestamp(int(record.ended_at), dt.UTC)
    return RunResult(record.run_id, ended, "finished", tuple(map(given_up, record.abandoned)))
