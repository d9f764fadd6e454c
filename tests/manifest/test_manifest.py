"""Valid manifests and the configuration they yield, and files that are no manifest."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.config.settings import (
    Api,
    Credential,
    Job,
    Limits,
    Manifest,
    Output,
    Pace,
    Retry,
)
from harvester.core.dataset import Refresh
from harvester.core.errors import ManifestError
from harvester.core.model import Rate
from harvester.manifest import loader

NOW = calendar.instant(calendar.parse_day("2026-06-15"), 12 * 60)
ONE = "wx0000000000000001"
TWO = "wx0000000000000002"
LEAST = f"api: {{base_url: sandbox}}\naccounts: [{{appid: {ONE}}}]\njobs: [{{}}]\n"

Load = Callable[..., Manifest]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write a manifest into an empty directory and load it."""

    def write_and_load(text: str | bytes, **environ: str) -> Manifest:
        file = tmp_path / "jobs.yaml"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return loader.read(file, environ=environ, now=NOW).manifest()

    return write_and_load


@contextlib.contextmanager
def refused(what: str) -> Iterator[None]:
    """Assert that the block raises a ManifestError with this single mistake."""
    with pytest.raises(ManifestError) as caught:
        yield
    (problem,) = caught.value.mistakes
    hint = f" ({problem.hint})" if problem.hint else ""
    place = problem.place
    assert f"{place.line}:{place.column}: {problem.what}{hint}" == what


def test_every_key_reaches_the_configuration(load: Load, tmp_path: Path) -> None:
    """Every key of the format sets its field of the configuration."""
    (tmp_path / "corp.pem").touch()
    made = load(
        f"""
version: 1
api:
  base_url: "https://proxy.example/wechat/"
  timeout: 45s
  proxy: "http://localhost:3128"
  ca_file: corp.pem
defaults:
  credential: {{secret: "${{file:secrets/{{appid}}}}"}}
  tags: [default]
  begin_date: 2019-01-01
accounts:
  - {{appid: {ONE}, name: Acme Service, tags: [retail, 上海], begin_date: 2020-03-01}}
  - {{appid: {TWO}, credential: {{token: "${{TOKEN}}"}}, end_date: 2030-01-01}}
jobs:
  - name: interface
    datasets: [interface_summary_hour, getinterfacesummary]
    accounts: {{tags: [retail, default], except: [{TWO}]}}
    begin_date: 2024-01-01
    end_date: 2024-12-31
  - {{datasets: interface_*, accounts: [{TWO}], begin_date: -30d}}
limits:
  per_token: {{rate: 600/min, burst: 2, concurrency: 8}}
  connections: 50
  max_requests: 1000
retry: {{max_attempts: 3, initial_delay: 250ms, max_delay: 2m}}
output: {{path: out, buckets: 4, must_exist: true}}
datasets:
  interface_summary: {{span: 60, ready_at: "11:30", settle: 5d, refresh: {{empty: [2, 9]}}}}
"""
    )
    first, second = made.accounts
    assert (first.appid, first.name, set(first.tags)) == (ONE, "Acme Service", {"retail", "上海"})
    assert first.credential == Credential(secret="${file:secrets/{appid}}")
    assert (first.begin_date, first.end_date) == (calendar.parse_day("2020-03-01"), None)
    assert (second.name, set(second.tags)) == ("", {"default"})
    assert second.credential == Credential(token="${TOKEN}")
    assert second.begin_date == calendar.parse_day("2019-01-01")
    assert second.end_date == calendar.parse_day("2030-01-01")
    both = ("interface_summary_hour", "interface_summary")
    assert made.jobs == (
        Job(
            "interface",
            both,
            (ONE,),
            calendar.parse_day("2024-01-01"),
            calendar.parse_day("2024-12-31"),
        ),
        Job("job-2", both[::-1], (TWO,), calendar.parse_day("2026-05-16"), None),
    )
    assert made.api == Api(
        "https://proxy.example/wechat", 45.0, "http://localhost:3128", tmp_path / "corp.pem"
    )
    assert made.limits == Limits(Pace(Rate(600, 60.0), 2, 8), 50, max_requests=1000)
    assert made.retry == Retry(3, 0.25, 120.0)
    assert made.output == Output(tmp_path / "out", 4, must_exist=True)
    changed = made.datasets["interface_summary"]
    assert (changed.span, changed.ready_minutes, changed.settle) == (60, 690, 5)
    assert changed.refresh == Refresh(empty=(2, 9))
    assert made.datasets["interface_summary_hour"] == CATALOGUE["interface_summary_hour"]


def test_a_minimal_manifest_gets_the_defaults(load: Load, tmp_path: Path) -> None:
    """Only accounts and jobs are required: every other key has a default."""
    made = load(LEAST)
    assert made == Manifest(
        file=tmp_path / "jobs.yaml",
        accounts=made.accounts,
        jobs=(Job("job-1", tuple(CATALOGUE), (ONE,), calendar.FIRST_DAY, None),),
        output=Output(tmp_path / "output"),
        datasets=CATALOGUE,
        api=Api("sandbox"),
    )


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("{datasets: all}", tuple(CATALOGUE)),
        ('{datasets: "*"}', tuple(CATALOGUE)),
        ('{datasets: "user_*"}', ("user_summary", "user_cumulate")),
        ("{datasets: getusersummary}", ("user_summary",)),
    ],
)
def test_datasets_of_a_job(load: Load, written: str, means: tuple[str, ...]) -> None:
    """A job's datasets are given as all, as a glob or by WeChat's name."""
    (job,) = load(LEAST.replace("{}", written)).jobs
    assert job.datasets == means


def test_short_forms(load: Load) -> None:
    """A name is a list of one, a path is an output, and ``all`` is every account or dataset."""
    long = load(
        LEAST.replace("{}]", "{datasets: [all], accounts: {tags: [a]}}]").replace(
            f"{ONE}", f"{ONE}, tags: [a]"
        )
        + "output: {path: x}\n"
    )
    short = load(
        LEAST.replace("{}]", "{datasets: all, accounts: all}]").replace(f"{ONE}", f"{ONE}, tags: a")
        + "output: x\n"
    )
    assert short == long


def test_relative_paths_count_from_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The working directory does not change which files a manifest names."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "jobs.yaml").write_text(LEAST + "accounts_file: more.csv\noutput: ../out\n")
    (tmp_path / "a" / "more.csv").write_text(f"appid\n{TWO}\n")
    monkeypatch.chdir(tmp_path)
    made = loader.read(Path("a/jobs.yaml"), environ={}, now=NOW).manifest()
    assert [account.appid for account in made.accounts] == [ONE, TWO]
    assert made.output.path == Path("a/../out")


@pytest.mark.parametrize(
    "mangle",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"# \xe4\xbd\xa0\xe5\xa5\xbd\n---\n" + text + b"...\n",
    ],
    ids=["a byte order mark", "Windows line ends", "document markers"],
)
def test_ways_to_write_a_file(load: Load, mangle: Callable[[bytes], bytes]) -> None:
    """Byte order mark, line ends and document markers change nothing."""
    assert load(mangle(LEAST.encode())) == load(LEAST)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            LEAST.encode("utf-16"),
            "1:1: the manifest is not UTF-8 text (save it as UTF-8 text)",
        ),
        (
            "a: 1\nb: 你".encode("gbk"),
            "2:4: the manifest is not UTF-8 text (save it as UTF-8 text)",
        ),
        (b"a: b\0", "1:5: the manifest holds U+0000, which is no character of a text (remove it)"),
        (
            b"PK\x03\x04",
            "1:1: the manifest is an Excel workbook or archive, not text (save it as UTF-8 text)",
        ),
        (
            b" " * (16 * 1024**2 + 1),
            "1:1: the manifest is larger than 16 MiB (split it, or name another file)",
        ),
    ],
    ids=["UTF-16", "GBK", "NUL", "a zip file", "too large"],
)
def test_files_that_are_no_text(load: Load, data: bytes, says: str) -> None:
    """A file that is no UTF-8 text is refused with the place of the first wrong character."""
    with refused(says):
        load(data)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    """A missing manifest and a directory have different messages."""
    init = "`harvester init jobs.yaml` writes one; yours is named behind the verb, as in run FILE"
    with refused(f"1:1: the manifest does not exist ({init})"):
        loader.read(tmp_path / "jobs.yaml", environ={}, now=NOW).manifest()
    with refused("1:1: the manifest is a directory (name a file in it)"):
        loader.read(tmp_path, environ={}, now=NOW).manifest()


NAMES = ["Acme 😀", "😀𠮷", "\\ud83d\\ude00", '\\😀"', "é/\t", "上"]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_manifest_in_json(load: Load, indent: int | None) -> None:
    """JSON is accepted, with any text, and mistakes in it have their places."""
    accounts = [{"appid": f"wx{n:016}", "name": name} for n, name in enumerate(NAMES)]
    tree = {"accounts": accounts, "api": {"base_url": "sandbox"}, "jobs": [{"datasets": "all"}]}
    made = load(json.dumps(tree, indent=indent, ensure_ascii=False))
    assert [account.name for account in made.accounts] == NAMES
    tree["limits"] = {"connections": "no"}
    text = json.dumps(tree, indent=indent, ensure_ascii=False)
    with pytest.raises(ManifestError) as caught:
        load(text)
    (problem,) = caught.value.mistakes
    _, line, column, _ = problem.place
    assert text.splitlines()[line - 1][column - 1 :].startswith('"no"')


def test_escaped_surrogate_pairs_are_refused(load: Load) -> None:
    """JSON may write a character beyond U+FFFF as two escapes, which YAML does not have."""
    hint = "use single quotes, or write the character itself"
    with refused(f"1:24: an unknown escape in these double quotes ({hint})"):
        load('{"accounts": [{"name": "\\ud83d\\ude00"}]}')


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("long" * 75, "cannot be read: File name too long (correct its path or its permissions)"),
        (".", "is a directory (name a file in it)"),
    ],
)
def test_an_unreadable_certificate_file_is_refused(load: Load, name: str, why: str) -> None:
    """The message has the place and the reason."""
    text = (
        f"api: {{base_url: sandbox, ca_file: {name}}}\n"
        f"accounts: [{{appid: {ONE}}}]\njobs: [{{datasets: all, begin_date: -3d}}]"
    )
    with refused(f"1:35: `ca_file` {why}"):
        load(text)


def test_references_are_resolved(load: Load, tmp_path: Path) -> None:
    """Any text may come from a variable or a file, and a number from text with digits."""
    (tmp_path / "name.txt").write_text("Acme\r\n")
    made = load(
        """
api: {base_url: sandbox, timeout: "${T}", proxy: "${PROXY}"}
accounts: [{appid: "wx${SIXTEEN}", name: "${file:name.txt} ${N:-Inc.}", tags: ["${NO}"]}]
jobs: [{name: "${EMPTY:-fallback}"}]
limits: {connections: "${C}"}
output: {path: "${DIR}/x", must_exist: "${YES}"}
""",
        T="5s",
        PROXY="http://me:pass@localhost:3128\n",
        SIXTEEN=ONE[2:],
        NO="no",
        EMPTY="",
        C="7",
        DIR="/data",
        YES="TRUE",
    )
    (account,) = made.accounts
    assert (account.appid, account.name, set(account.tags)) == (ONE, "Acme Inc.", {"no"})
    assert (made.api.timeout, made.api.proxy) == (5.0, "http://me:pass@localhost:3128")
    assert (made.jobs[0].name, made.limits.connections) == ("fallback", 7)
    assert made.output == Output(Path("/data/x"), must_exist=True)
    assert "pass" not in repr(made)
    texts = (account.appid, account.name, *account.tags, made.jobs[0].name, made.api.proxy)
    assert {type(text) for text in texts} == {str}


@pytest.mark.parametrize(
    ("written", "number"), [("auto", None), ('"auto"', None), ("300", 300), ('"${N}"', 300)]
)
def test_the_daily_quota_is_a_number_or_asked_for(
    load: Load, written: str, number: int | None
) -> None:
    """A tenth of it is reserved if nothing else is said."""
    made = load(f"{LEAST}limits: {{daily_quota: {written}}}\n", N="300")
    assert made.limits == Limits(daily_quota=number)
    assert (Limits().daily_quota, Limits().daily_reserve.of(300)) == (None, 30)


def test_a_quota_in_words_is_refused_with_the_word_that_there_is(load: Load) -> None:
    """A reference is text too, and auto is one of two ways to write it."""
    with pytest.raises(ManifestError, match="must be auto or a whole number"):
        load(f'{LEAST}limits: {{daily_quota: "${{N}}"}}\n', N="many")


def test_values_from_references_are_not_shown(load: Load) -> None:
    """No message repeats the value of a variable, because it may be a secret."""
    text = LEAST.replace("{}]", '{datasets: "${X}", accounts: ["${X}"]}]') + 'output: "${X}"\n'
    with pytest.raises(ManifestError) as caught:
        load(text, X="ftp://surprise")
    assert len(caught.value.mistakes) == 3
    assert "surprise" not in str(caught.value)


def test_credentials_stay_references(load: Load) -> None:
    """Loading reads no secret, so the variable need not be set."""
    made = load(f"""
accounts: [{{appid: {ONE}, credential: {{secret: "${{NOT_SET}}"}}}}]
jobs: [{{}}]
""")
    assert made.accounts[0].credential == Credential(secret="${NOT_SET}")


@pytest.mark.parametrize(
    "url",
    [
        "sandbox",
        "https://api.weixin.qq.com",
        "https://sh.api.weixin.qq.com:8443/prefix",
        "http://localhost:8080",
        "http://127.0.0.2",
        "http://[::1]:8080",
    ],
)
def test_addresses(load: Load, url: str) -> None:
    """Tokens go out over https, and over http only within this machine."""
    text = LEAST.replace(ONE, ONE + ', credential: {token: "${T}"}')
    made = load(text.replace("sandbox", f'"{url}"'))
    assert made.api.base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://2130706433",
        "http://127.0.0.1.nip.io",
        "http://localhost@evil.example",
        "https://api.weixin.qq.com#",
        "https://api.weixin.qq.com\\\\@evil.example",
        "https://\u0430pi.weixin.qq.com",
        "https://api.weixin.qq.com\\n.evil.example",
        "https://",
        "https://[::1",
        "ftp://localhost",
        "Sandbox",
    ],
)
def test_addresses_that_are_refused(load: Load, url: str) -> None:
    """An address that would carry a token elsewhere than it seems to is refused."""
    with pytest.raises(ManifestError, match=r"jobs\.yaml:1:17: `base_url` "):
        load(LEAST.replace("sandbox", f'"{url}"'))


def test_yesterday_ends_at_midnight_in_beijing(load: Load, tmp_path: Path) -> None:
    """The time zone of the machine does not change which day is yesterday."""
    text = LEAST.replace("{}]", "{begin_date: 2026-06-14}]")
    file = tmp_path / "jobs.yaml"
    midnight = calendar.instant(calendar.parse_day("2026-06-15"))
    load(text)
    loader.read(file, environ={}, now=midnight).manifest()
    what = "`begin_date` is after yesterday, which is 2026-06-13 in Beijing"
    with refused(f"3:21: {what} (write 2024-01-31, -30d or earliest)"):
        loader.read(file, environ={}, now=midnight - 1).manifest()


def test_days_outside_the_statistics_are_clipped(load: Load) -> None:
    """``-30d`` may reach back before the first day, and an account's days may lie anywhere."""
    text = LEAST.replace(ONE, f"{ONE}, begin_date: 2001-01-01, end_date: 2099-12-31")
    made = load(text.replace("{}]", "{begin_date: -9999d, end_date: -1d}]"))
    assert (made.jobs[0].begin, made.jobs[0].end) == (
        calendar.FIRST_DAY,
        calendar.parse_day("2026-06-14"),
    )
    assert made.accounts[0].begin_date == calendar.parse_day("2001-01-01")


@pytest.mark.parametrize(
    ("keys", "seconds"),
    [
        ("", 30.0),
        (", lease: 1m", 60.0),
        (", lease: 1s", 1.0),
        (", single_writer: true", 0.0),
        (", single_writer: true, lease: 0", 0.0),
        (", single_writer: true, lease: 0s", 0.0),
    ],
)
def test_the_lease_of_an_object_store(load: Load, keys: str, seconds: float) -> None:
    """Half a minute, unless it is said, or nothing can be leased."""
    made = load(f"{LEAST}\noutput: {{path: 's3://bucket/x'{keys}}}")
    assert made.output.lease_seconds == seconds


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("path: 's3://bucket/x', lease: 0", "`lease` is 0, so that two runs at once would"),
        ("path: 's3://bucket/x', lease: 10ms", "`lease` must be 1s or longer, or 0"),
        ("path: 's3://bucket/x', lease: 2h", "`lease` must be at most 1h"),
        ("path: 's3://bucket/x', lease: soon", "`lease` is not a duration"),
        ("path: 's3://bucket/x', lease: 30", "`lease` is not a duration"),
        ("path: 's3://bucket/x', lease: 9s, single_writer: true", "`lease` needs conditional"),
        ("path: out, lease: 30s", "`lease` is for an object store"),
    ],
)
def test_leases_that_cannot_be(load: Load, output: str, words: str) -> None:
    """Two runs at once would not be noticed, or the lease would end while it is renewed."""
    with pytest.raises(ManifestError, match=re.escape(words)):
        load(f"{LEAST}\noutput: {{{output}}}")
