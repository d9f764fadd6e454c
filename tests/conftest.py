"""Fixtures of all tests, and the ones that apply to every test."""

from __future__ import annotations

import errno
import importlib.util
import inspect
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import hypothesis
import pytest
from blockbuster import blockbuster_ctx

from harvester.core.config.settings import Output
from harvester.core.text import redaction
from harvester.runs.processes.cores import usable_cores
from harvester.runs.record.labels import ENGINE_VARIABLES
from harvester.storage.layout import Tree
from harvester.testing import Sandbox, sandbox
from tests.support import work_order
from tests.support.secret_canary import no_secrets
from tests.support.store_backends import CREDENTIALS, Outputs, output_in, s3_process

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Read before any test starts: the fixture below empties the environment of our own variables.
# Under another name from here on: a command warns of a HARVESTER_ variable that it does not know.
_IS_REQUIRED = os.environ.pop("HARVESTER_REQUIRE_SPARK", "")
SPARK_REQUIRED = os.environ.setdefault("TESTS_REQUIRE_SPARK", _IS_REQUIRED) not in {"", "0"}

JAVA_FLOOR = 17
"""The oldest Java that Spark 4 runs on."""

# A command starts three times as fast if it is compiled already, and tests start hundreds.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# No deadline: a busy machine is not a wrong answer. CI tries the same examples every time.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Return half as many workers again as there are cores, because many tests wait.

    None, for the choice of the plugin, if its variable names a number.
    """
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return usable_cores() * 3 // 2


def pytest_configure(config: pytest.Config) -> None:
    """Measure the processes of pytest alone: in the hundreds that tests start it takes minutes."""
    runs_tests = hasattr(config, "workerinput") or not config.getoption("numprocesses", None)
    if runs_tests:
        os.environ.pop("COVERAGE_PROCESS_START", None)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give slow tests an hour before they count as hanging; sort the work of several workers."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(3600))
    if hasattr(config, "workerinput"):
        work_order.sort_tests(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return the scheduler of the workers."""
    return work_order.make_scheduler(config, log)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables of the environment that change what harvester does."""
    ours = [name for name in os.environ if name.startswith("HARVESTER_")]
    runners = ("CI", "GITHUB_ACTIONS", "GITHUB_OUTPUT", "KUBERNETES_SERVICE_HOST")
    terminals = ("COLUMNS", "NO_COLOR", "FORCE_COLOR")
    for name in (*ours, *runners, *terminals, *ENGINE_VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def text_on_stderr() -> Iterator[None]:
    """Undo what commands before this test, or in it, did to stderr and to the level of the log."""
    logging.getLogger("harvester").setLevel(logging.NOTSET)
    yield
    lines = sys.modules.get("harvester.cli.output.json_lines")
    if lines is not None:
        lines.begin(on=False)


@pytest.fixture(autouse=True)
def secrets_of_the_test() -> Iterator[None]:
    """Give every test a record of secrets of its own, as a run has, and forget it."""
    with no_secrets():
        redaction.start_record()
        yield
    # A record that something of this test still holds would mask words of the next ones.
    redaction._RUNS.clear()


@pytest.fixture(autouse=True)
def no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    """Make harvester's blocking calls in the event loop raise in every async test.

    Calls of the test itself do not raise. Arrow's reads and writes are not seen; another test
    checks the thread that they run in.
    """
    if not inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield
        return
    with blockbuster_ctx("harvester") as blocking:
        # The collector removes the folder of a store of an earlier test wherever it finds it.
        for function in blocking.functions.values():
            function.can_block_in("harvester/storage/backends/scratch.py", "_remove")
        yield


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that this user may not read; simulated, because root may read any folder."""
    folder = tmp_path / "closed"
    folder.mkdir()
    real = os.stat

    def refusing(path: Any, *args: Any, **options: Any) -> os.stat_result:
        if not isinstance(path, int) and folder in Path(os.fsdecode(path)).absolute().parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, *args, **options)

    monkeypatch.setattr(os, "stat", refusing)
    return folder


@pytest.fixture(scope="session")
def wechat() -> Iterator[Sandbox]:
    """Three accounts."""
    with sandbox(accounts=3) as found:
        yield found


@pytest.fixture
def manifest(wechat: Sandbox, tmp_path: Path) -> dict[str, Any]:
    """Return a manifest of one dataset of all accounts, with an output of its own."""
    return wechat.manifest(["interface_summary"], output=str(tmp_path / "output"))


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """The address of an S3 server, one for all tests."""
    with s3_process() as address:
        yield address


@pytest.fixture
def s3_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the S3 credentials, and a temporary folder for the files of killed runs."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3_output(s3_address: str, s3_keys: None) -> Output:
    """An empty output in an object store."""
    del s3_keys
    return output_in(s3_address)


@pytest.fixture(params=["disk", "objects"])
def outputs(request: pytest.FixtureRequest, tmp_path: Path) -> Outputs:
    """The outputs of each backend in turn: a folder, then an object store."""
    if request.param == "disk":
        return Outputs(Output(tmp_path / "output"))
    place: Output = request.getfixturevalue("s3_output")
    return Outputs(place)


@pytest.fixture
def tree(outputs: Outputs) -> Tree:
    """A tree of one bucket, on each backend in turn."""
    return outputs()


@pytest.fixture
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory, in UTC, that may not look for extensions on the network."""
    offline: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "threads": 2,
        "TimeZone": "UTC",
    }
    with duckdb.connect(config=offline) as connection:
        yield connection


@pytest.fixture(scope="session")
def java() -> None:
    """Skip a test without Java 17, or fail it if HARVESTER_REQUIRE_SPARK is set, as in CI."""
    missing = _why_no_spark()
    if missing and SPARK_REQUIRED:
        pytest.fail(f"HARVESTER_REQUIRE_SPARK is set, but {missing}")
    if missing:
        pytest.skip(missing)


@pytest.fixture(scope="session")
def spark(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A local Spark in UTC, one for all tests, because it takes seconds to start."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
        monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        # It lives for a minute: what compiles a long time for a fast end never pays.
        monkeypatch.setenv("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        session = _start_spark(tmp_path_factory.mktemp("spark"))
        yield session
        session.stop()


def _why_no_spark() -> str:
    if not importlib.util.find_spec("pyspark"):
        return "pyspark is not installed"
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home, "bin")) if home else None)
    if not java:
        return f"there is no Java {JAVA_FLOOR} or newer"
    printed = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', printed)
    if not version or int(version[1]) < JAVA_FLOOR:
        return f"Spark needs Java {JAVA_FLOOR} or newer, found: {printed.splitlines()[0]}"
    return ""


def _start_spark(scratch: Path) -> SparkSession:
    settings: dict[str, bool | float | int | str | None] = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": str(scratch / "local"),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    # Imported here, since it takes a third of a second that only the tests with Spark should pay.
    sql = importlib.import_module("pyspark.sql")
    builder: SparkSession.Builder = sql.SparkSession.builder.master("local[2]")
    return builder.appName("harvester-tests").config(map=settings).getOrCreate()
