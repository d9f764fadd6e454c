"""Readers of an output: Arrow, DuckDB, Polars, coverage, codes, runs and verification."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from harvester.catalogue import CATALOGUE
from harvester.core.config import parsers, settings
from harvester.core.results import Change
from harvester.readers import engines
from harvester.readers.arrow_dataset import arrow_dataset, days_between
from harvester.readers.output_place import OutputPlace, located, place_of
from harvester.storage import layout
from harvester.storage.backends.base import Store
from harvester.storage.derived import derived_files
from harvester.storage.derived.derived_runs import RecordedRun, codes, runs_table
from harvester.storage.layout import ACCOUNTS, COVERAGE, Tree, open_tree, refuse_unharvested
from harvester.storage.state import rewrite_journal, run_records
from harvester.storage.state.change_reader import whole_tree
from harvester.verbs import arguments
from harvester.verbs.arguments import AnyDay, Names
from harvester.verbs.changes import ChosenChanges, changes_of, day_bounds
from harvester.verbs.sql.dialects import dialect_of
from harvester.verbs.sql.script import views_of
from harvester.verbs.verify import Report, check_tree

if TYPE_CHECKING:
    import duckdb
    import polars as pl


@dataclass(frozen=True, slots=True)
class Output:
    """An output that is read without its manifest and without secrets of WeChat.

    ``place`` is its folder or URI. Each call lists the files again, so an output stays usable while
    runs replace its files.
    """

    place: str
    _at: OutputPlace = field(repr=False, compare=False)
    _store: Store = field(repr=False, compare=False)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the datasets that the output has."""
        return layout.datasets(self._store)

    @arguments.checked
    def arrow(
        self,
        name: str,
        *,
        begin_date: AnyDay = None,
        end_date: AnyDay = None,
        accounts: Names = None,
    ) -> ds.Dataset:
        """Return a dataset's rows as an Arrow dataset; no row is read yet.

        Its last column is ``ref_month``, from the path. ``begin_date`` and ``end_date`` are Beijing
        days of ``ref_date``, both included. ``accounts`` are appids. Files and row groups without
        matching rows are not read. Raises UsageError for an unknown or absent dataset, an invalid
        day and an invalid appid.
        """
        # Here none is none: a program may have found no account.
        named = () if accounts in ([], ()) else arguments.names(accounts, "accounts") or None
        check = partial(parsers.option_value, "accounts", parse=parsers.appid)
        appids = None if named is None else frozenset(map(check, named))
        days = day_bounds(*days_between(begin_date, end_date, time.time()))
        return arrow_dataset(self._at, self._store, name, ChosenChanges(appids, None, *days))

    def polars(self, name: str) -> pl.LazyFrame:
        """Return a dataset's rows as a lazy frame of Polars.

        Raises UsageError as `arrow`, and HarvesterError if Polars is not installed.
        """
        arguments.check(Output.arrow, {"name": name})
        tree, found = located(self._store, name)
        paths = [self._at.location(tree.name(each)) for each in found]
        return engines.polars_frame(self._at, paths)

    def duckdb(
        self, con: duckdb.DuckDBPyConnection | None = None, schema: str = "wechat"
    ) -> duckdb.DuckDBPyConnection:
        """Return a DuckDB connection with the views of `harvester sql`.

        They are those of every dataset and table, with names and labels, and the reports. Without
        ``con`` it is a new one, in memory, whose default schema is ``schema``. A view lists the
        files at each query. If a later run adds a dataset, call this again. Raises HarvesterError
        if DuckDB, or an extension that it needs for an object store, is not installed.
        """
        used = engines.duckdb_connection(self._at, con, schema)
        used.execute(views_of(Tree(self._store), "duckdb", schema, self.place).script())
        if con is None:
            used.execute("use {}".format(dialect_of("duckdb").quoted(schema)))
        return used

    def accounts(self) -> pa.Table:
        """Return the accounts as the manifests of the last runs label them, by appid.

        ``wanted`` is False of an account that its manifest does not have any more, and
        ``updated_at`` is when another column changed last.
        """
        return derived_files.read_all(Tree(self._store), ACCOUNTS).sort_by("appid")

    @arguments.checked
    def coverage(self, name: str | None = None) -> pa.Table:
        """Return the state of each known or wanted day, of one dataset or of all.

        A row is a range of equal days of an account, cut at months, as the last runs left it.
        ``state`` is ``final``, ``provisional`` (asked again on later days), ``quarantined`` (the
        last answer was not usable) or ``missing``, for a ``reason``. ``has_rows`` is null if there
        was no usable answer at all. Raises UsageError as `arrow`, and DamagedOutput.
        """
        found = derived_files.read_all(Tree(self._store), COVERAGE)
        if name is None:
            return found
        located(self._store, name)
        return found.filter(pc.equal(found["dataset"], name))

    def codes(self) -> pa.Table:
        """Return the known values of columns with codes, and their labels in both languages.

        ``code_int`` is null for codes that are text.
        """
        return codes()

    def runs(self) -> pa.Table:
        """Return the runs that left a record, oldest first; ``_run_id`` of a row is a ``run_id``.

        ``exit_code`` and ``ended_at`` are null for a run that goes on, or was killed.
        """
        newest_first = run_records.newest(Tree(self._store), RecordedRun, run_records.HEAD_BYTES)
        return runs_table(reversed([*newest_first]))

    @arguments.checked
    def changes(self, since: str | None = None) -> tuple[list[Change], str]:
        """Return the files that were replaced or deleted since a cursor, and the next cursor.

        Without a cursor every file that exists is listed. A reader that keeps the cursor gets each
        replacement at least once; those of a bucket come in the order in which they became durable.
        Raises HistoryLost, with a new ``cursor``, if the history since the old one has a gap: read
        everything once and continue from the new cursor.
        """
        return changes_of(Tree(self._store), since)

    @arguments.checked
    def verify(self, *, footers_only: bool = False) -> Report:
        """Check every file against itself, and that all published files are there.

        Every byte is read, unless ``footers_only``. Repairs nothing. Raises HarvesterError if a
        file cannot be read at all.
        """
        tree = whole_tree(self._store)
        # No wanted days: without a manifest, the days that an unreadable file had are not known.
        return check_tree(tree, CATALOGUE, {}, {}, footers_only=footers_only)


@arguments.checked
def open(
    output: str | os.PathLike[str],
    *,
    must_exist: bool = True,
    endpoint: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Output:
    """Open an output for reading: a folder, or ``s3://…``, ``gs://…``, ``az://…``.

    Args:
        output: The folder or the URI.
        must_exist: False for a place where a run may begin an output later.
        endpoint: The address of an object store, if it is not the usual one.
        storage_options: Options of obstore, such as ``aws_access_key_id``, ``aws_region`` or
            ``allow_http``. They take precedence over the environment.

    Raises UsageError if nothing was harvested there, and HarvesterError if it cannot be read.
    """
    at = place_of(output, endpoint, storage_options or {})
    # The folders of datasets may be links to other disks, which only a manifest has to allow.
    place = settings.Output(path=at.path, endpoint=at.endpoint, follow_links=at.is_folder)
    tree = open_tree(place, at.options)
    rewrite_journal.refuse_unfinished(tree)
    if must_exist:
        refuse_unharvested(tree.store)
    return Output(str(at.path), at, tree.store)
