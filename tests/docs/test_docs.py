"""The guides against the product: options, keys, columns, codes, and every snippet."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import yaml

from harvester import catalogue
from harvester.catalogue.error_codes import DATA_RULES
from harvester.cli import app, invoke
from harvester.core.calendar import day_text, instant, parse_day
from harvester.core.config.settings import Output
from harvester.core.exit_codes import Exit
from harvester.manifest.accounts_file import COLUMNS
from harvester.manifest.json_schema import json_schema
from harvester.manifest.loader import read
from harvester.planning.engine_shard import SHARDS
from harvester.runs.record.account_report import reason_of
from harvester.sandbox.data import Row, expected_rows
from harvester.scheduling.listener import AbandonedDays
from harvester.storage.layout import open_tree
from harvester.storage.state.change_log import ChangeLog
from harvester.tables.columns import arrow_schema
from harvester.verbs import arguments
from tests.support.doc_pages import (
    API,
    CLI,
    EXIT_CODES,
    FENCED,
    GUIDES,
    MANIFEST,
    PAGES,
    READING,
    README,
    ROOT,
    RUN_RECORD,
    SCALING,
    SCHEDULE,
    TROUBLES,
    Block,
    anchors,
    blocks,
    each_block,
    section,
    table_rows,
)
from tests.support.run_harness import RunHarness

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SHIPPED = ROOT / "jobs.yaml"
ANSWERS = ROOT / "docs/reference/json.md"

VERBS = [name for name in app if not name.startswith("-")]
ACCOUNTS = tuple(re.findall(r"wx[0-9a-f]{16}", SHIPPED.read_text().partition("accounts:")[2]))


class ShippedLab(RunHarness):
    """A lab whose accounts are the first of the shipped manifest."""

    @property
    def appids(self) -> tuple[str, ...]:
        """The first accounts of the manifest, as many as ``accounts``."""
        return ACCOUNTS[: self.accounts]


@dataclass(frozen=True)
class Harvest:
    """A folder as the guides assume it: jobs.yaml and an output with some history."""

    folder: Path
    record: dict[str, Any]


@pytest.fixture(scope="module")
def harvest(tmp_path_factory: pytest.TempPathFactory) -> Harvest:
    """Two months of three accounts: one is refused an API, one has a day in quarantine."""

    def source(dataset: str, appid: str, day: int) -> list[Row]:
        rows = [dict(row) for row in expected_rows(dataset, appid, day)]
        if appid == ACCOUNTS[1] and day_text(day) == "2026-04-02":
            rows = [{**row, "fail_count": "none"} for row in rows]
        return rows

    folder = tmp_path_factory.mktemp("docs")
    lab = ShippedLab(folder / "output", end="2026-04-30", source=source)
    lab.sandbox.fail(ACCOUNTS[2], 48001, dataset="interface_summary_hour")
    (folder / "jobs.yaml").write_text(SHIPPED.read_text())
    done = lab.run()
    record = json.loads((lab.root / f"_harvester/runs/{done.run_id}.json").read_bytes())
    return Harvest(folder, record)


@pytest.fixture
def here(harvest: Harvest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the harvest, as the current directory."""
    monkeypatch.chdir(harvest.folder)
    return harvest.folder


# The command line.


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_stands_in_its_verbs_table_with_its_variable(verb: str) -> None:
    """Tables and options are equal, variables and choices included."""
    assert f"(reference/{verb}.md)" in CLI.read_text()
    rows = table_rows((ROOT / f"docs/reference/{verb}.md").read_text())
    known: set[str] = set()
    for argument in app[verb].assemble_argument_collection():
        [name, *_] = argument.names
        if name == "*":
            continue
        known.add(name)
        for variable in argument.parameter.env_var or ():
            assert f"`{variable}`" in rows[name]
        for choice in argument.get_choices() or ():
            assert f"`{choice}`" in rows[name]
    assert {name for name in rows if name.startswith("--")} <= known


def test_every_variable_a_guide_names_belongs_to_an_option() -> None:
    """Each variable in a guide is read by an option."""
    known = {
        variable
        for verb in VERBS
        for argument in app[verb].assemble_argument_collection()
        for variable in argument.parameter.env_var or ()
    }
    # It comes with the index of an engine, and no option has its value.
    known.add(SHARDS)
    for page in GUIDES:
        assert set(re.findall(r"HARVESTER_[A-Z_]*[A-Z]", page.read_text())) <= known


def test_every_exit_code_is_explained_in_the_order_of_severity() -> None:
    """The reference has all codes and reasons, and the page of troubles says what to do."""
    table = EXIT_CODES.read_text()
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)]
    assert codes == [int(code) for code in Exit]
    for rule in DATA_RULES.values():
        gone = AbandonedDays(
            "wx0000000000000001", "interface_summary", 0, 0, count=1, rule=rule, why=""
        )
        assert f"`{reason_of(gone)[0]}`" in table
    actions = section(TROUBLES, "## What each exit code calls for")
    told = re.findall(r"^\| ([\d, ]+) \|", actions, flags=re.MULTILINE)
    assert {int(code) for cell in told for code in cell.split(",")} >= set(Exit)


def members(value: object) -> Iterator[str]:
    """Yield the names of all members of a JSON value, at any depth."""
    if isinstance(value, dict):
        yield from value
        for inner in value.values():
            yield from members(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from members(inner)


def test_every_member_of_a_run_record_is_explained(harvest: Harvest) -> None:
    """Members of exceptions, quarantined days and publications are explained too."""
    record = harvest.record
    assert record["exceptions"]
    assert record["quarantined"]
    assert record["published"]
    named = table_rows(RUN_RECORD.read_text())
    named |= table_rows(section(CLI, "## harvester status"))
    assert set(members(record)) - named.keys() <= {"day", "reason"}
    assert set(record) <= table_rows(RUN_RECORD.read_text()).keys()


@pytest.mark.parametrize("verb", ["plan", "check", "status"])
def test_every_member_of_an_answer_in_json_is_explained(
    verb: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every member of the JSON is named in the reference."""
    assert invoke([verb, "jobs.yaml", "--format", "json"]) == Exit.DONE
    text = section(CLI, f"## harvester {verb}") + ANSWERS.read_text()
    for member in set(members(json.loads(capsys.readouterr().out))):
        assert f"`{member}`" in text


def test_every_member_of_a_fetched_answer_is_explained(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of the values that differ too."""
    invoke(["fetch", ACCOUNTS[1], "interface_summary", "2026-04-02", "--format", "json"])
    text = ANSWERS.read_text()
    for member in (*json.loads(capsys.readouterr().out), "key", "column", "published", "answered"):
        assert f"`{member}`" in text


def commands(page: Path) -> Iterator[tuple[str, ...]]:
    """Yield the `harvester` commands of a page's blocks, split as a shell would."""
    for block in blocks(page, "sh", "crontab", "yaml"):
        for found in re.findall(rf"harvester ((?:{'|'.join(VERBS)})\b[^|;&>#\n]*)", block.text):
            yield tuple(shlex.split(found))


COMMANDS = sorted({command for page in GUIDES for command in commands(page)})
CHANGING = ("run", "export", "fetch", "sandbox", "rewrite", "forget")
ANSWERED = [
    command
    for command in COMMANDS
    if command[0] not in CHANGING and command != ("init", "new-jobs.yaml")
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_in_the_guides_is_valid(command: tuple[str, ...]) -> None:
    """Each command has known options with accepted values."""
    app.parse_args(command, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("command", ANSWERED, ids=" ".join)
def test_every_reading_command_in_the_guides_works(
    command: tuple[str, ...], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command works with the shipped manifest; only the gate exits with 75.

    A path below /data/ in a guide is replaced by the output of this test.
    """
    command = tuple("output" if word.startswith("/data/") else word for word in command)
    assert invoke(command) == (Exit.AGAIN if "--require" in command else Exit.DONE)
    assert capsys.readouterr().out


# The manifest.


def test_defaults_and_columns_of_an_accounts_file_are_named() -> None:
    """The page names the keys of `defaults` and the columns of an accounts file."""
    row = table_rows(section(MANIFEST, "## Keys"))["defaults"]
    for name in json_schema()["$defs"]["Defaults"]["properties"]:
        assert f"`{name}`" in row
    text = section(MANIFEST, "### accounts_file")
    for name in COLUMNS:
        assert f"`{name}`" in text


@each_block([*blocks(MANIFEST, "yaml"), *blocks(README, "yaml")])
def test_every_manifest_in_the_guides_loads(block: Block, tmp_path: Path) -> None:
    """Each manifest loads without secrets, because only a run resolves credentials."""
    [table] = blocks(MANIFEST, "csv")
    (tmp_path / "accounts.csv").write_text(table.text)
    (tmp_path / "corp.pem").touch()
    (tmp_path / "jobs.yaml").write_text(block.text)
    now = instant(parse_day("2026-11-25"), 12 * 60)
    assert read(tmp_path / "jobs.yaml", environ={}, now=now).manifest().jobs


MISTAKES = [block for block in blocks(MANIFEST) if block.info.startswith("yaml broken")]


@each_block(MISTAKES)
def test_every_mistake_is_printed_as_the_guide_has_it(
    block: Block,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The printed mistakes equal the text in the guide."""
    verb = block.info.split()[-1]
    # A run that went on by mistake would find no server at this address.
    nowhere = '\napi: {base_url: "http://127.0.0.1:9"}\n' if verb == "run" else ""
    [table] = blocks(MANIFEST, "csv broken")
    (tmp_path / "accounts.csv").write_text(table.text)
    (tmp_path / "jobs.yaml").write_text(block.text + nowhere)
    monkeypatch.chdir(tmp_path)
    for name in ("ACME_SECRET", "CAFE_SECRET"):
        monkeypatch.delenv(name, raising=False)
    assert invoke([verb, "jobs.yaml"]) == Exit.USAGE
    printed = next(each for each in blocks(MANIFEST, "text") if each.line > block.line)
    assert capsys.readouterr().err == printed.text


# Reading.


def test_every_column_is_explained_with_its_type() -> None:
    """The page explains the interface family's and harvester's own columns with their types."""
    rows = table_rows(section(READING, "## Columns"))
    assert "(datasets.md)" in section(READING, "## Columns")
    for name in ("interface_summary", "interface_summary_hour"):
        dataset = catalogue.CATALOGUE[name]
        assert f"`{name}`" in READING.read_text()
        for field in arrow_schema(dataset):
            assert f"| {str(field.type).replace('[day]', '').replace('[us, tz=', '(us, ')}" in (
                rows[field.name].replace(")", "]")
            )
        for column in dataset.columns:
            assert re.split("[,;]", column.meaning)[0] in rows[column.name]


@each_block([*blocks(README, "sql"), *blocks(READING, "sql")])
def test_every_query_runs_and_finds_something(
    block: Block, here: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """Each query runs unchanged in DuckDB over a harvested output."""
    for statement in duck.extract_statements(block.text):
        answer = duck.execute(statement).fetchall()
        assert answer or statement.type is not duckdb.StatementType.SELECT


PYTHON = [*blocks(README, "python"), *blocks(READING, "python")]


@each_block([block for block in PYTHON if not block.text.startswith("# Spark")])
def test_every_python_snippet_runs(block: Block, here: Path) -> None:
    """Snippets of Polars, plain Python and, where installed, pandas run."""
    if block.text.startswith("# pandas"):
        pytest.importorskip("pandas")
    names: dict[str, Any] = {}
    exec(compile(block.text, block.name, "exec"), names)
    ask: Callable[[str], list[tuple[int]]] | None = names.get("ask")
    assert ask is None or ask("select 1") == [(1,)]


def test_the_follower_in_the_guide_has_what_is_in_the_files(
    harvest: Harvest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first, after a file was replaced and another one deleted, and after a reset."""
    [block] = [each for each in blocks(READING, "python") if "def follow" in each.text]
    shutil.copytree(harvest.folder / "output", tmp_path / "output")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(block.text, block.name, "exec"), names)
    con = names["con"]

    def is_equal() -> bool:
        there = "read_parquet('output/interface_summary/ref_month=*/*.parquet')"
        query = "select columns(* exclude path) from copy order by all"
        answers = con.sql(query).fetchall(), con.sql(f"from {there} order by all").fetchall()
        return bool(answers[0]) and answers[0] == answers[1]

    assert is_equal()
    tree = open_tree(Output(tmp_path / "output"))
    ShippedLab(tmp_path / "output", end="2026-04-30").run(refetch="all")
    names["follow"](con)
    assert is_equal()
    shutil.rmtree(tmp_path / "output/_harvester/changes")
    log = ChangeLog(tree, "run", lambda: 0.0)
    log.open([tree.bucket_label(0)])
    con.sql("delete from copy where ref_date < '2026-04-01'")
    names["follow"](con)
    assert is_equal()


@each_block([block for block in PYTHON if block.text.startswith("# Spark")])
def test_every_spark_snippet_runs(block: Block, here: Path, spark: SparkSession) -> None:
    """Snippets run with absolute paths, because Java keeps the folder that it was started in."""
    text = block.text.replace('"output/', f'"{here}/output/')
    exec(compile(text, block.name, "exec"), {"spark": spark})


def test_the_page_of_the_python_api_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All snippets in one program, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks(API, "python"):
        exec(compile(block.text, block.name, "exec"), names)


# Operations and links.


WORKFLOWS = [*blocks(SCHEDULE, "yaml"), *blocks(SCALING, "yaml")]


@each_block([block for block in WORKFLOWS if "\njobs:" in f"\n{block.text}"])
def test_every_workflow_keeps_its_own_rules(block: Block) -> None:
    """Signals reach harvester, runs do not overlap, and the time limit exceeds the budget."""
    workflow = yaml.safe_load(block.text)
    job = workflow["jobs"]["harvest"]
    group = workflow.get("concurrency") or job["concurrency"]
    assert group["cancel-in-progress"] is False
    checkout, run = job["steps"]
    assert checkout["with"]["persist-credentials"] is False
    assert re.search(r"@[0-9a-f]{40}$", checkout["uses"])
    assert run["run"].startswith("exec harvester run ")
    assert "${{" not in run["run"]
    budget = arguments.seconds(run["env"]["HARVESTER_MAX_DURATION"])
    assert budget is not None
    assert job["timeout-minutes"] * 60 > budget + 300


def _lacks(page: Path, link: str) -> bool:
    """Return whether the target of a page's link does not exist."""
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return not target.exists() or bool(anchor and anchor not in anchors(target))


def test_every_link_has_a_target() -> None:
    """Each link leads to an existing file and heading."""
    assert not [
        f"{page.relative_to(ROOT)}: {link}"
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", page.read_text()))
        if "://" not in link and _lacks(page, link)
    ]
