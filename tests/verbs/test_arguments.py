"""Arguments of the Python API: each wrong one is a UsageError that names it in Python's words."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
from collections import ChainMap, UserDict, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import pytest

import harvester
from harvester.cli import invoke, options
from harvester.core.errors import UsageError
from harvester.core.exit_codes import Exit
from harvester.storage.coverage_scan import Refetch
from harvester.testing import sandbox
from harvester.verbs import arguments
from harvester.verbs.changes import changes
from harvester.verbs.check import inputs
from harvester.verbs.forget import forget
from harvester.verbs.lakehouse.export import export
from harvester.verbs.rewrite import rewrite
from harvester.verbs.sql.script import sql
from harvester.verbs.verify import verify

ODD = object()
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)

WRONG: Mapping[str, tuple[Any, ...]] = {
    "manifest": (5, None, "", ["jobs.yaml"]),
    "chosen": (5, "wx0000000000000001"),
    "accounts": (5, [5], b"wx", {"wx": 1}, "nobody", "", []),
    "datasets": (5, [None], {"a": "b"}, "nothing", "", []),
    "jobs": (5, [b"x"], "nothing", "", []),
    "begin_date": (20260301, MOMENT, "last week", "2026-02-30"),
    "end_date": (20260301, MOMENT, "tomorrow", "31.1.2026"),
    "output": (5, b"output", ["output"], ""),
    "shard": (5, "3/2", (0, 1), (1, 2, 3), "1"),
    "processes": (0, True, "3", None, 1.5),
    "refetch": ("everything", True, ["all"]),
    "max_duration": (60, 1.5, "60", "soon", timedelta(-1)),
    "until_complete": ("yes", 1, None),
    "until_attention": ("yes", 1, None),
    "wait": (60, "1d", timedelta(-1), "1h"),
    "ignore_spent_quota": ("no", 0),
    "lock_timeout": (60, "soon", timedelta(-1)),
    "labels": (5, ["a=b"], {"a": 1}, {1: "a"}),
    "on_event": (5, "print"),
    "progress": ("bar", True, None),
    "require": (20260301, "tomorrow", MOMENT),
    "final": ("yes", 1, True),
    "at_least": (1, True, "95", "many", 1.5),
    "unlisted": ("yes", None),
    "owners": ("yes", None),
    "quota": ("yes", None),
    "html": (5, None, "", "."),
    "for_client": ("yes", None),
    "lang": ("fr", "EN", None, 5),
    "account": (5, None),
    "dataset": (5, None),
    "begin": (5, None, "someday", MOMENT),
    "end": (5, "someday"),
    "environ": (5, ["A=B"], {"A": 1}),
    "endpoint": (5, "somewhere"),
    "storage_options": (5, {1: "a"}),
    "must_exist": ("no", None),
    "name": (5, "nothing"),
    "schema": (5, "", "\n"),
    "engine": (5, None, "sqlite", ["duckdb"]),
    "base": (5, "", "data/output", "/data\n"),
    "con": ("duckdb", 5),
    "since": (5,),
    "footers_only": ("yes", None),
    "repair": ("yes", None),
    "to": (5, None),
    "uri": (5, None, ""),
    "catalog": (5, "catalog"),
    "warehouse": (5, "warehouse"),
    "expire": ("yes", None),
    "buckets": (0, "8", 10_000),
    "before": (5, "someday"),
    "dry_run": ("yes", None),
}
"""Values that are none, by argument. Of each function all of its arguments are tried."""

TAKEN: list[tuple[str, str, Any]] = [("changes", "manifest", None), ("arrow", "accounts", [])]
"""Values that are wrong for another function."""


def verbs() -> dict[str, Callable[..., Any]]:
    """Return the public functions and those of the other verbs, by name."""
    found = (harvester.run, harvester.plan, harvester.check, harvester.status, harvester.fetch)
    others = (
        harvester.read_manifest,
        harvester.report,
        changes,
        verify,
        rewrite,
        forget,
        sql,
        export,
        harvester.open,
    )
    return {each.__name__: each for each in (*found, *others)}


NEEDED: Mapping[str, Mapping[str, Any]] = {
    "fetch": {"account": "wx0000000000000001", "dataset": "interface_summary", "begin": "-2d"},
    "report": {"html": "page.html"},
    "sql": {"engine": "duckdb"},
    "export": {"uri": "lake", "to": "delta"},
    "rewrite": {"to": "elsewhere"},
    "forget": {"accounts": "wx0000000000000001"},
}


@pytest.fixture(scope="module")
def harvested(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A manifest whose output has rows."""
    with sandbox(accounts=2) as wechat:
        output = tmp_path_factory.mktemp("arguments") / "output"
        manifest = wechat.manifest(begin_date="-3d", output=str(output))
        assert harvester.run(manifest).exit_code == 0
        yield manifest


def cases() -> list[tuple[str, str, Any]]:
    """Return each argument of each function with each of its wrong values."""
    return [
        (verb, argument, value)
        for verb, function in verbs().items()
        for argument in inspect.signature(function).parameters
        for value in WRONG[argument]
        if (verb, argument, value) not in TAKEN
    ]


def test_a_wrong_value_of_any_argument_is_a_usage_error_that_names_it(
    harvested: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a TypeError out of the middle, never silence, and no word of the command line."""
    monkeypatch.chdir(tmp_path)
    flaws = []
    for verb, argument, value in cases():
        alone = verb in ("open", "export")
        place = {"output": harvested["output"]} if alone else {"manifest": harvested}
        given = {**place, **NEEDED.get(verb, {}), argument: value}
        try:
            verbs()[verb](**given)
        except UsageError as error:
            text = str(error)
            if argument not in text or f"--{argument}" in text:
                flaws.append(f"{verb}({argument}={value!r}): {text}")
        except Exception as error:  # noqa: BLE001 - each is a flaw
            flaws.append(f"{verb}({argument}={value!r}): {type(error).__name__}: {error}")
        else:
            flaws.append(f"{verb}({argument}={value!r}): accepted")
    assert not flaws, "\n".join(flaws)


def test_methods_of_an_output_check_their_arguments(harvested: dict[str, Any]) -> None:
    """As the functions do."""
    out = harvester.open(harvested["output"])
    methods = (out.arrow, out.polars, out.duckdb, out.coverage, out.changes, out.verify)
    tried = [
        (method, argument, value)
        for method in methods
        for argument in inspect.signature(method).parameters
        for value in WRONG[argument]
        if (method.__name__, argument, value) not in TAKEN
    ]
    for method, argument, value in tried:
        needed = {"name": "interface_summary"} if method in methods[:2] else {}
        with pytest.raises(UsageError, match=f"{argument}|unknown dataset"):
            method(**{**needed, argument: value})


def test_run_async_checks_its_arguments(harvested: dict[str, Any]) -> None:
    """They are those of `run`."""
    with pytest.raises(UsageError, match="max_duration `60` does not fit"):
        asyncio.run(harvester.run_async(harvested, max_duration=60))  # type: ignore[arg-type]


def test_the_message_says_what_to_give() -> None:
    """The types of the argument, and where its values are described."""
    with pytest.raises(UsageError) as caught:
        harvester.plan("jobs.yaml", refetch="everything")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "refetch `'everything'` does not fit\n"
        "give Optional[Literal['all', 'empty', 'provisional', 'quarantined', 'refused']];"
        " help(plan) tells more"
    )


@pytest.mark.parametrize("form", [list, tuple, set, dict.fromkeys, deque])
def test_names_may_stand_in_any_collection(
    harvested: dict[str, Any], form: Callable[[list[str]], Any]
) -> None:
    """Such as a set, the keys of a mapping or a column of a data frame."""
    names: Any = form(["wx0000000000000001"])
    names = names.keys() if isinstance(names, dict) else names
    assert harvester.status(harvested, accounts=names).datasets[0].accounts == 1


@pytest.mark.parametrize("form", [dict, MappingProxyType, UserDict, ChainMap])
def test_any_mapping_will_do(
    harvested: dict[str, Any], form: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> None:
    """For a manifest, for labels, and for the variables of a process, as `os.environ` is one."""
    assert harvester.run(form(harvested), labels=form({"team": "growth"})).exit_code == 0
    assert harvester.read_manifest(harvested, environ=form({"A": "B"})).accounts
    assert harvester.read_manifest(harvested, environ=os.environ).accounts


def test_a_wrong_value_that_could_be_a_secret_is_not_repeated() -> None:
    """As anywhere else."""
    secret = "0123456789abcdef0123456789abcdef"
    with pytest.raises(UsageError) as caught:
        harvester.plan("jobs.yaml", refetch=secret)  # type: ignore[arg-type]
    assert secret not in str(caught.value)


@pytest.mark.parametrize("form", [dict, Path])
def test_every_verb_takes_what_read_manifest_returns(
    harvested: dict[str, Any], tmp_path: Path, form: type[object]
) -> None:
    """Read from a mapping or from a file, which may be gone when a verb works on it."""
    source: Any = harvested
    if form is Path:
        source = tmp_path / "jobs.yaml"
        source.write_text(arguments.source(harvested).text or "")
    manifest = harvester.read_manifest(source)
    if form is Path:
        source.unlink()
    account = manifest.accounts[0].appid
    assert harvester.run(manifest, refetch="empty").exit_code == 0
    assert harvester.run(manifest, processes="auto").exit_code == 0
    assert harvester.plan(manifest).requests == 0
    assert harvester.status(manifest).complete
    assert harvester.check(manifest).exit_code == 0
    assert harvester.fetch(manifest, account, "interface_summary", "-2d").exit_code == 0
    assert harvester.read_manifest(manifest) == manifest
    assert changes(manifest)[0]
    assert verify(manifest).undamaged
    assert inputs(manifest, arguments.selection(None, None, None, None, None), None).accounts == 2
    assert rewrite(manifest, to=tmp_path / "new").rows
    assert forget(manifest, accounts=account, before="2020-01-01", dry_run=True).empty


def test_a_manifest_keeps_the_variables_that_it_was_read_with(tmp_path: Path) -> None:
    """A verb does not look for them in the environment of the process."""
    written = {
        "version": 1,
        "api": {"base_url": "sandbox"},
        "accounts": [{"appid": "wx0000000000000001"}],
        "jobs": [{"datasets": ["user_summary"], "begin_date": "-3d"}],
        "output": "${PLACE}",
    }
    manifest = harvester.read_manifest(written, environ={"PLACE": str(tmp_path / "there")})
    assert harvester.run(manifest).exit_code == 0
    assert (tmp_path / "there" / "user_summary").is_dir()


def test_a_manifest_that_was_changed_is_refused(harvested: dict[str, Any]) -> None:
    """A verb reads its text again, so a change of the value would be ignored in silence."""
    changed = replace(harvester.read_manifest(harvested), jobs=())
    with pytest.raises(UsageError, match="manifest was changed after it was read"):
        harvester.plan(changed)


def test_the_command_line_refetches_what_the_function_does() -> None:
    """Written out there, because loading the other would make ``--help`` slow."""
    assert {*get_args(get_args(get_args(options.Refetch)[0])[0])} == {*get_args(Refetch)}


@pytest.mark.parametrize("verb", [harvester.plan, harvester.status, harvester.check, harvester.run])
@pytest.mark.parametrize("names", ["", [], [""], ["all", ""], "a,,b", "a,"])
@pytest.mark.parametrize("argument", ["accounts", "datasets", "jobs"])
def test_an_empty_name_is_a_mistake(
    harvested: Mapping[str, Any], verb: Callable[..., object], argument: str, names: object
) -> None:
    """It must not mean all: a shell writes one for a variable that is not set."""
    with pytest.raises(UsageError) as caught:
        verb(harvested, **{argument: names})
    assert caught.value.problem == f"{argument} has an empty name"


@pytest.mark.parametrize("words", [["--accounts", ""], ["--accounts", ","], ["--accounts", "a,"]])
def test_an_empty_name_of_an_option_is_a_mistake(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    """As an option is spelled; a variable that is empty counts as not set."""
    manifest = tmp_path / "jobs.yaml"
    manifest.write_text(
        "api: {base_url: sandbox}\naccounts: [{appid: wx0000000000000001}]\njobs: [{}]\n"
    )
    assert invoke(["plan", str(manifest), *words]) == Exit.USAGE
    assert "error: --accounts has an empty name" in capsys.readouterr().err
    monkeypatch.setenv("HARVESTER_ACCOUNTS", "")
    assert invoke(["plan", str(manifest)]) == Exit.DONE


def test_a_name_may_begin_with_a_hyphen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a `=`, which the error says, or in the variable."""
    manifest = tmp_path / "jobs.yaml"
    manifest.write_text(
        "api: {base_url: sandbox}\naccounts:\n"
        "  - {appid: wx0000000000000001, name: -Acme}\n  - {appid: wx0000000000000002}\n"
        "jobs: [{datasets: interface_summary, begin_date: -3d, accounts: [-Acme]}]\n"
    )
    assert invoke(["plan", str(manifest), "--accounts=-Acme", "--format", "json"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["requests"] == 1
    monkeypatch.setenv("HARVESTER_ACCOUNTS", "-Acme")
    assert invoke(["plan", str(manifest)]) == Exit.DONE
    assert invoke(["plan", str(manifest), "--accounts", "-Acme"]) == Exit.USAGE
    assert "is written --accounts=-…" in capsys.readouterr().err
