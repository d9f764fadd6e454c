"""The page about other engines: each snippet, before and after files are replaced."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from obstore.store import S3Store

from harvester.verbs.sql.script import sql
from tests.support.doc_pages import ROOT, WAREHOUSES, Block, blocks, each_block, section, table_rows
from tests.support.example_tools import python_with
from tests.support.store_backends import CREDENTIALS, make_bucket

FILE = "user_summary/ref_month={}/part-0000-of-0001.parquet"
REQUIREMENTS = (ROOT / "tests/warehouses/requirements.txt").read_text()

# Answers each line of its input with what the snippet finds, or with the error.
PROGRAM = """
import json, sys
names = {}
exec(compile(open("snippet.py", encoding="utf-8").read(), "snippet.py", "exec"), names)
for line in sys.stdin:
    try:
        found = names["won"]()
    except BaseException as error:
        found = f"{type(error).__name__}: {error}"
    print("FOUND", json.dumps(found), flush=True)
"""

# The extension is a file of a package, because nothing may be fetched here.
HTTPFS = """
import importlib.util, pathlib
folder = pathlib.Path(importlib.util.find_spec("duckdb_extension_httpfs").origin).parent
con.sql(f"load '{next(folder.rglob('*.duckdb_extension'))}'")
"""

PLAIN = {
    'con.sql("install httpfs")\ncon.sql("load httpfs")\n': HTTPFS,
    "url_style 'path'": "url_style 'path', use_ssl false",
    '"aws_region"': '"aws_allow_http": "true", "aws_region"',
    "bucket_name=": "allow_http=True, bucket_name=",
}
"""Changes that let a snippet speak without TLS, and run without a network."""

EXTENSIONS = {"duckdb": ("duckdb_extension_httpfs",)}

KEPT_FRAME = """
import polars as pl

kept = pl.scan_parquet("output/user_summary/ref_month=*/*.parquet", hive_partitioning=True)
won = lambda: kept.select("new_user").sum().collect().rows()
"""

KEPT_LIST = re.compile(r"ctx.sql\(\"set datafusion.*\n")

TYPES = """
import duckdb, json, pandas as pd

frames = {
    "`read_parquet`": pd.read_parquet("output/user_summary"),
    "pyarrow": pd.read_parquet("output/user_summary", dtype_backend="pyarrow"),
    "df": duckdb.sql("from 'output/user_summary/*/*.parquet'").df(),
}
columns = ["ref_date", "ref_month", "new_user", "_fetched_at"]
won = lambda: [[str(frame[name].dtype) for frame in frames.values()] for name in columns]
"""

Answer = list[list[object]] | str


@contextmanager
def asking(snippet: str, folder: Path, *modules: str) -> Iterator[Callable[[], Answer]]:
    """Run a snippet in a Python that has the modules, and yield what asks it once more."""
    (folder / "snippet.py").write_text(snippet, encoding="utf-8")
    keep = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    environ = {**keep, **CREDENTIALS, "HOME": str(folder), "RUST_BACKTRACE": "0"}
    command = [python_with(*modules), "-c", PROGRAM]
    pipe, log = subprocess.PIPE, (folder / "log").open("w+")
    with (
        log,
        subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=log, text=True, cwd=folder, env=environ
        ) as process,
    ):
        assert process.stdin
        assert process.stdout

        def ask() -> Answer:
            assert process.stdin
            assert process.stdout
            process.stdin.write("\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith("FOUND "):
                    answer: Answer = json.loads(line.removeprefix("FOUND "))
                    return answer
            raise AssertionError((folder / "log").read_text())

        try:
            yield ask
        finally:
            process.kill()


def months(folder: Path) -> dict[str, pa.Table]:
    """Return the rows of each month of a copy in memory."""
    return {
        file.parent.name.removeprefix("ref_month="): pq.ParquetFile(file).read()
        for file in sorted(folder.glob("user_summary/*/*.parquet"))
    }


def expected(files: dict[str, pa.Table]) -> Answer:
    """Return the answer of a snippet over these files."""
    found = []
    for month, table in files.items():
        sums = table.group_by("appid").aggregate([("new_user", "sum")]).to_pylist()
        found += [[row["appid"], month, row["new_user_sum"]] for row in sums]
    return sorted(found)


def replacements(files: dict[str, pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    """Yield months with new rows: more, fewer, and of a month that is new."""
    oldest = min(files)
    rows = files[oldest]
    field = rows.schema.field("appid")
    more = [rows.set_column(0, field, pa.array([f"wx{n}"] * len(rows))) for n in range(100)]
    yield oldest, pa.concat_tables([rows, *more])
    yield oldest, rows.slice(0, 3)
    yield "2026-06", files[max(files)]


def encoded(table: pa.Table) -> bytes:
    """Return a file with these rows in several row groups."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=5_000)
    return bytes(sink.getvalue())


def check(
    ask: Callable[[], Answer], files: dict[str, pa.Table], put: Callable[[str, bytes], object]
) -> None:
    """Compare answers with the files, which are replaced between two questions."""
    assert ask() == expected(files)
    for month, table in replacements(dict(files)):
        files[month] = table
        put(FILE.format(month), encoded(table))
        assert ask() == expected(files), month


def on_disk(folder: Path) -> Callable[[str, bytes], object]:
    """Return what replaces a file as a run does: by a rename."""

    def put(name: str, data: bytes) -> None:
        new, path = folder / "new", folder / "output" / name
        path.parent.mkdir(exist_ok=True)
        new.write_bytes(data)
        new.rename(path)

    return put


def module_of(block: Block) -> str:
    """Return the module of the engine that a snippet is for."""
    name = block.info.split()[1]
    return "chdb" if name == "clickhouse" else name


@pytest.fixture
def here(harvested: Path, tmp_path: Path) -> Path:
    """A folder with a copy of the output."""
    shutil.copytree(harvested, tmp_path / "output")
    return tmp_path


@each_block([each for each in blocks(WAREHOUSES) if re.fullmatch(r"python \w+", each.info)])
def test_an_engine_sees_what_was_replaced(block: Block, here: Path) -> None:
    """On a disk, at the next query: more rows, fewer rows, and a new month."""
    with asking(block.text, here, module_of(block)) as ask:
        check(ask, months(here / "output"), on_disk(here))


class Bucket:
    """A bucket with a copy of an output."""

    def __init__(self, address: str, output: Path) -> None:
        self._address = address
        self.name = make_bucket(address)
        keys = {name.lower().removeprefix("aws_"): value for name, value in CREDENTIALS.items()}
        options = {"allow_http": True}
        self._store = S3Store(self.name, endpoint=address, client_options=options, **keys)  # type: ignore[arg-type]
        for file in output.glob("[a-z]*/**/*.parquet"):
            self.put(str(file.relative_to(output)), file.read_bytes())

    def put(self, name: str, data: bytes) -> None:
        """Write a file of the output."""
        obstore.put(self._store, f"output/{name}", data)

    def reached_by(self, snippet: str) -> str:
        """Return a snippet of the page with this address, which may speak without TLS."""
        snippet = snippet.replace("acme-statistics", self.name).replace("eu-central-1", "us-east-1")
        for old, new in PLAIN.items():
            snippet = snippet.replace(old, new)
        snippet = snippet.replace("https://s3.example.com", self._address)
        return snippet.replace("s3.example.com", self._address.removeprefix("http://"))


@each_block([each for each in blocks(WAREHOUSES) if each.info.endswith(" store")])
def test_an_engine_sees_what_was_replaced_in_an_object_store(
    block: Block, harvested: Path, tmp_path: Path, s3_address: str
) -> None:
    """As on a disk: more rows, fewer rows, and a new month."""
    bucket = Bucket(s3_address, harvested)
    modules = module_of(block), *EXTENSIONS.get(module_of(block), ())
    with asking(bucket.reached_by(block.text), tmp_path, *modules) as ask:
        check(ask, months(harvested), bucket.put)


def test_the_views_of_sql_read_an_object_store(
    harvested: Path, tmp_path: Path, s3_address: str
) -> None:
    """DuckDB lists the objects at each query of a view, as it lists files."""
    bucket = Bucket(s3_address, harvested)
    place = f"s3://{bucket.name}/output"
    (tmp_path / "views.sql").write_text(sql(output=harvested, engine="duckdb", base=place))
    [block] = blocks(WAREHOUSES, "python duckdb store")
    text = bucket.reached_by(block.text).replace("from user_summary", "from wechat.user_summary")
    views = 'con.execute(open("views.sql", encoding="utf-8").read())'
    with asking(f"{text}\n{views}\n", tmp_path, "duckdb", *EXTENSIONS["duckdb"]) as ask:
        check(ask, months(harvested), bucket.put)


def test_a_kept_frame_of_polars_misses_replacements(here: Path) -> None:
    """It fails, or does not see the new month; so the page makes one for each query."""
    files = months(here / "output")
    with asking(KEPT_FRAME, here, "polars") as ask:
        before = ask()
        for month, table in replacements(files):
            on_disk(here)(FILE.format(month), encoded(table))
            assert ask() == before or str(ask()).startswith(("ComputeError", "PanicException"))


def test_a_session_of_datafusion_misses_replacements(here: Path) -> None:
    """Without the setting it never answers with what the files have."""
    [block] = blocks(WAREHOUSES, "python datafusion")
    text, count = KEPT_LIST.subn("", block.text)
    assert count == 1
    files = months(here / "output")
    with asking(text, here, "datafusion") as ask:
        assert ask() == expected(files)
        for month, table in replacements(dict(files)):
            files[month] = table
            on_disk(here)(FILE.format(month), encoded(table))
            assert ask() != expected(files)


def test_the_types_of_pandas_are_on_the_page(here: Path) -> None:
    """A column by column, for each way of reading."""
    with asking(TYPES, here, "pandas", "duckdb") as ask:
        found = ask()
    table = table_rows(section(WAREHOUSES, "## pandas"))
    rows = [table["ref_date"], table["ref_month"], table["new_user"], table["_fetched_at"]]
    for row, types in zip(rows, found, strict=True):
        for cell, kind in zip(row.split(" | ")[1:], types, strict=True):
            assert str(kind).partition(",")[0].partition("<")[0] in cell


def test_the_page_names_the_versions_that_are_run() -> None:
    """The table of the page and the requirements of the tests agree."""
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)$", REQUIREMENTS, flags=re.MULTILINE))
    text = section(WAREHOUSES, "## What was run")
    for name in ("duckdb", "polars", "pandas", "pyarrow", "datafusion", "chdb"):
        assert re.search(rf"(?i){name}[ |]+{re.escape(pinned[name])}\b", text), name
