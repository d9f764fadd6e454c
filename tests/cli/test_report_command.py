"""``harvester report``: where the page goes, what it costs of other files, and what it prints."""

from __future__ import annotations

import json
import os
from pathlib import Path

import obstore
import pytest

import harvester
from harvester.cli import invoke
from harvester.core.config.settings import Output
from harvester.core.errors import StoreAway, UsageError
from harvester.core.exit_codes import Exit
from harvester.core.text.inert_text import inert
from harvester.storage.backends import object_client
from harvester.storage.backends.object_store import ObjectStore
from tests.support.report_pages import Page
from tests.support.run_harness import appid

MANIFEST = """
version: 1
api: {{base_url: {base}}}
defaults: {{credential: {{secret: "${{file:secret}}"}}}}
accounts:
  - {{appid: {first}, name: Acme, tags: [retail]}}
  - {{appid: {second}, name: Other Brand}}
jobs: [{{datasets: [interface_summary], begin_date: 2026-03-01, end_date: 2026-03-04}}]
limits: {{per_token: {{rate: 1000/s, burst: 100}}}}
output: {output}
"""
FIRST, SECOND = appid(1), appid(2)


def write_manifest(base: str = "sandbox", output: str = "out") -> None:
    """Write the manifest of the current folder."""
    given = {"first": FIRST, "second": SECOND, "base": base, "output": output}
    Path("jobs.yaml").write_text(MANIFEST.format(**given))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A harvested output of two accounts, whose manifest names WeChat and a secret of a file."""
    monkeypatch.chdir(tmp_path)
    Path("secret").write_text("s" * 32)
    write_manifest()
    assert invoke(["run", "--progress", "none"]) == Exit.DONE
    return tmp_path


def page(name: str = "page.html") -> Page:
    """Return a page of the current folder."""
    return Page(Path(name).read_text("utf-8"))


def test_it_prints_the_sentence_and_the_place(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line as text, and the members of the result as JSON."""
    assert invoke(["report", "--html", "page.html"]) == Exit.DONE
    head = page().texts["h1"]
    assert capsys.readouterr().out == f"page.html: {head}\n"
    assert head.startswith("2026-03-04: 2 of 2 accounts complete, 0 need a person, 0 late; made ")
    assert invoke(["report", "--html", "page.html", "--format", "json"]) == Exit.DONE
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "html": "page.html",
        "bytes": Path("page.html").stat().st_size,
        "sentence": head,
    }
    assert {path.name for path in here.iterdir()} == {"jobs.yaml", "out", "page.html", "secret"}


def test_a_place_of_any_name_is_told_as_it_is(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program gets the name of the file, and a terminal one that acts on nothing."""
    for name in ("-page.html", "=page.html", "page\x1b[2J.html", "pa::error::ge.html"):
        assert invoke(["report", f"--html={name}", "--format", "json"]) == Exit.DONE
        assert json.loads(capsys.readouterr().out)["html"] == name
        assert Path(name).exists()
        assert harvester.report("jobs.yaml", html=name).html == name
        assert invoke(["report", f"--html={name}"]) == Exit.DONE
        assert capsys.readouterr().out.startswith(f"{inert(name)}: 2026-03-04")


def test_it_resolves_no_secret_and_asks_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A secret that is gone and an address that does not answer are no matter."""
    Path("secret").unlink()
    write_manifest("http://127.0.0.1:9")
    assert invoke(["report", "--html", "page.html"]) == Exit.DONE
    assert page().facts["command"] == "harvester run jobs.yaml"
    capsys.readouterr()


def test_without_a_manifest_it_is_about_what_the_last_run_wanted(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With names and tags as they were then, and without a command, which would need one."""
    Path("jobs.yaml").unlink()
    assert invoke(["report", "--output", "out", "--html", "page.html"]) == Exit.DONE
    found = page().facts
    assert [(each["name"], each["tags"]) for each in found["accounts"]] == [
        ("Acme", ["retail"]),
        ("Other Brand", []),
    ]
    assert found["command"] == ""
    capsys.readouterr()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--accounts", FIRST), ("--accounts", "tag:retail"), ("--accounts", "Acme")],
)
def test_what_is_not_selected_is_in_no_byte(
    here: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the name nor the appid of another account, however one is selected."""
    assert invoke(["report", "--html", "page.html", option, value]) == Exit.DONE
    text = page().everything()
    assert "Acme" in text
    assert "Other Brand" not in text
    assert SECOND not in text
    capsys.readouterr()


def test_a_client_gets_nothing_of_the_harvest(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a command nor a path, a host, a run or a quota."""
    assert invoke(["report", "--html", "page.html", "--for-client"]) == Exit.DONE
    text = page().everything()
    for canary in (
        *("harvester run", "jobs.yaml", str(here), "secret", "sandbox", "http", "_harvester"),
        *("requests</th>", 'id="runs"', 'id="quota"', 'id="sizes"'),
    ):
        assert canary not in text.replace("http-equiv", ""), canary
    capsys.readouterr()


def test_days_that_are_not_selected_are_not_in_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The map begins and ends with what is asked for."""
    dates = "--begin-date", "2026-03-02", "--end-date", "2026-03-03"
    assert invoke(["report", "--html", "page.html", *dates]) == Exit.DONE
    found = page()
    assert (found.facts["begin"], found.facts["columns"]) == ("2026-03-02", 2)
    assert [*found.days("interface_summary")[FIRST]] == ["2026-03-02", "2026-03-03"]
    capsys.readouterr()


def test_the_language_is_that_of_the_option_or_the_variable(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The locale of the machine decides nothing: a page is read elsewhere."""
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert invoke(["report", "--html", "page.html"]) == Exit.DONE
    assert page().facts["lang"] == "en"
    monkeypatch.setenv("HARVESTER_LANG", "zh")
    assert invoke(["report", "--html", "page.html"]) == Exit.DONE
    assert page().facts["lang"] == "zh"
    assert page().texts["h1"].startswith("2026-03-04：2 个账号中 2 个完整")
    capsys.readouterr()


REFUSED = {
    "jobs.yaml": "the run reads this file",
    "second-name.html": "the run reads this file",
    "secret": "the run reads this file",
    "link.html": "a link",
    "out/page.html": "inside of an output",
    "out/deep/page.html": "inside of an output",
    "folder": "a folder or a device, not a file",
    "victim/page.html": "is a file, not a folder",
    "s3://bucket/page": "let it end in .html",
    "ftp://host/page.html": "is not a path",
}


@pytest.mark.parametrize("place", REFUSED)
def test_a_place_that_holds_something_else_is_refused(
    here: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same places as those of the other files of the user, and nothing in them is changed."""
    write_manifest("http://127.0.0.1:9")
    Path("victim").write_text("kept")
    Path("link.html").symlink_to("victim")
    Path("folder").mkdir()
    os.link("jobs.yaml", "second-name.html")
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert invoke(["report", "--html", place]) == Exit.USAGE
    error = capsys.readouterr().err
    assert REFUSED[place] in error
    assert "--html" in error
    assert before == {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}


def test_a_page_is_replaced_whole_or_not_at_all(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that may not be written to leaves the earlier page, and the code is 1."""
    Path("pages").mkdir()
    target = Path("pages/page.html")
    target.write_text("earlier")
    assert invoke(["report", "--html", str(target)]) == Exit.DONE
    assert target.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert [path.name for path in target.parent.iterdir()] == ["page.html"]
    blocked = target.parent / ".page.html.tmp"
    blocked.mkdir()
    before = target.read_bytes()
    assert invoke(["report", "--html", str(target)]) == Exit.BUG
    assert target.read_bytes() == before
    assert "page.html.tmp" in capsys.readouterr().err


def test_a_page_in_an_object_store_is_one_put_with_its_type(
    here: Path, s3_output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    """A browser shows it, because the store says that it is a page in UTF-8."""
    write_manifest(output=f'{{path: "{s3_output.path}", endpoint: "{s3_output.endpoint}"}}')
    assert invoke(["run", "--progress", "none"]) == Exit.DONE
    bucket = str(s3_output.path).removeprefix("s3://").partition("/")[0]
    url = f"s3://{bucket}/pages/{FIRST}.html"
    capsys.readouterr()
    assert invoke(["report", "--html", url]) == Exit.DONE
    assert capsys.readouterr().out.startswith(f"{url}: 2026-03-04: 2 of 2 accounts complete")
    client = object_client.connect(f"s3://{bucket}/pages", s3_output.endpoint, {})
    answer = obstore.get(client, f"{FIRST}.html")
    assert answer.attributes["Content-Type"] == "text/html; charset=utf-8"
    assert Page(bytes(answer.bytes()).decode()).facts["columns"] == 4
    inside = f"{s3_output.path}/page.html"
    assert invoke(["report", "--html", inside]) == Exit.USAGE
    assert "inside of the output" in capsys.readouterr().err


def test_a_store_that_is_away_is_another_try(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The code is 75, as for every command, and the error names the place."""

    def away(_self: ObjectStore, name: str, _source: bytes) -> None:
        raise StoreAway(f"s3://bucket/pages/{name}: away", "run again")

    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(variable, "x")
    monkeypatch.setattr(ObjectStore, "put", away)
    assert invoke(["report", "--html", "s3://bucket/pages/page.html"]) == Exit.AGAIN
    assert "s3://bucket/pages/page.html: away" in capsys.readouterr().err


def test_the_function_has_the_same_answer(here: Path) -> None:
    """From Python, from a mapping too, whose page has no command."""
    found = harvester.report("jobs.yaml", html=Path("page.html"), accounts=[FIRST])
    assert found.sentence == page().texts["h1"]
    assert found.bytes == Path("page.html").stat().st_size
    assert page().facts["command"] == "harvester run jobs.yaml"
    Path("-x y.yaml").write_text(Path("jobs.yaml").read_text())
    harvester.report("-x y.yaml", html="page.html", output="-o")
    assert page().facts["command"] == "harvester run './-x y.yaml' --output=-o"
    read = harvester.read_manifest("jobs.yaml")
    harvester.report(read, html="page.html", output="out")
    assert page().facts["command"] == ""
    with pytest.raises(UsageError, match="lang"):
        harvester.report("jobs.yaml", html="page.html", lang="de")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no run has kept here"):
        harvester.report(html="page.html", output="nowhere")
