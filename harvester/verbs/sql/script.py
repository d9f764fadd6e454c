"""`sql`: the views of an output as SQL for an engine. Reads the names of files only."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from harvester.catalogue import CATALOGUE
from harvester.core.config.settings import Output
from harvester.core.errors import UsageError
from harvester.core.text.inert_text import inert
from harvester.manifest.narrowing import ALL, Selection
from harvester.manifest.option_values import spelled
from harvester.storage import layout
from harvester.storage.derived import derived_files
from harvester.storage.layout import Tree
from harvester.verbs.arguments import ManifestSource, checked
from harvester.verbs.changes import ALL_CHANGES, ChosenChanges, chosen_changes
from harvester.verbs.project import open_project
from harvester.verbs.sql.definitions import Views
from harvester.verbs.sql.dialects import dialect_of

Engine: TypeAlias = Literal["duckdb", "spark"]
"""An engine that views are written for."""

ENGINES: tuple[Engine, ...] = get_args(Engine)

_MAX_TRIES = 3
_log = logging.getLogger("harvester.sql")


@checked
def sql(
    manifest: ManifestSource | None = None,
    *,
    engine: Engine,
    schema: str = "wechat",
    base: str | None = None,
    chosen: Selection = ALL,
    output: str | os.PathLike[str] | None = None,
) -> str:
    """Return the statements that create the views of an output in an engine.

    ``schema`` is the schema of the views, and the beginning of their names in Spark. ``base`` is
    the output as the engine sees it: an absolute path or a URL. What is not selected is in no view.
    Without a manifest the accounts are those that the last runs kept in ``output``. Raises
    UsageError, and StoreError if the output cannot be read.
    """
    project = open_project(manifest, output=output, authorised="optional")
    store, whole = project.tree.store, project.manifest
    if manifest is None:
        layout.refuse_unharvested(store)
    elif not layout.is_harvested(store):
        _log.warning("%s: nothing was harvested here, so every view is empty", store.display_path())
    address = _address(whole.output)
    if base is not None:
        address = usable("base", base).rstrip("/")
        if "://" not in base and not base.startswith("/"):
            raise UsageError(f"{spelled('base')} {inert(base)}: relative path", "make it absolute")
    part = chosen_changes(whole, chosen, project.clock.started_at)
    return views_of(project.tree, engine, schema, address, part).script()


def keep(tree: Tree, output: Output) -> None:
    """Write the views of an output into it, for each engine, where they differ.

    Raises as `views_of`.
    """
    # Again after a change, because another shard may have brought a dataset its first file.
    for _ in range(_MAX_TRIES):
        # Listed once for all engines, because a store takes its time.
        seen = tree.listed_once()
        views = views_of(seen, ENGINES[0], "wechat", _address(output))
        made = {engine: replace(views, dialect=dialect_of(engine)).script() for engine in ENGINES}
        files = {f"{layout.VIEWS}/{engine}.sql": text.encode() for engine, text in made.items()}
        there = [file for file in seen.files(layout.VIEWS) if file.name in files]
        read = zip(there, tree.store.get_many(there), strict=True)
        stale = files.keys() - {file.name for file, data in read if data == files[file.name]}
        if not stale:
            return
        for name in sorted(stale):
            tree.store.put(name, files[name])


def _address(output: Output) -> str:
    return str(output.path.absolute()) if isinstance(output.path, Path) else output.path


def views_of(
    tree: Tree, engine: Engine, schema: str, base: str, chosen: ChosenChanges = ALL_CHANGES
) -> Views:
    """Return the views of an output of any number of buckets, which the engine has at ``base``.

    Raises UsageError for a name that cannot be part of a statement, and StoreError.
    """
    present = {name for name in chosen.datasets or CATALOGUE if layout.located(tree, name)[1]}
    present |= {name for name in derived_files.SCHEMAS if derived_files.files(tree, name)}
    names = usable("schema", schema), usable("output", base)
    return Views(dialect_of(engine), *names, present, _attributes(tree), chosen)


def _attributes(tree: Tree) -> set[str]:
    """Return the names of the accounts' attributes. Raises StoreError."""
    found = derived_files.read_all(tree, layout.ACCOUNTS)["attributes"]
    return {name for chunk in found.chunks for name in chunk.keys.to_pylist()}


def usable(argument: str, text: str) -> str:
    """Return a text that may be part of a statement, on a terminal too. Raises UsageError."""
    if not text.strip() or not text.isprintable():
        raise UsageError(
            f"{spelled(argument)} {inert(text)!r}: empty, or not printable", "write another"
        )
    return text
