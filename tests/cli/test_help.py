"""Help, version and the mistakes of a command line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from harvester import __version__
from harvester.cli import app, invoke
from harvester.core.exit_codes import Exit
from tests.support.doc_pages import ROOT, anchors

VERBS = [name for name in app if not name.startswith("-")]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what a successful command prints to stdout."""
    capsys.readouterr()
    assert invoke(arguments) == Exit.DONE
    return capsys.readouterr().out


def test_help_is_a_verb_and_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    """`harvester`, `harvester help` and `--help` are one, and so are those of each verb."""
    assert printed(capsys) == printed(capsys, "help") == printed(capsys, "--help")
    for verb in VERBS:
        assert printed(capsys, "help", verb) == printed(capsys, verb, "--help")


def test_the_version_is_printed_in_three_ways(capsys: pytest.CaptureFixture[str]) -> None:
    """A verb and two options."""
    for words in (["version"], ["--version"], ["-V"]):
        assert printed(capsys, *words) == f"{__version__}\n"


def test_verbs_stand_in_the_order_of_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    """From the first manifest over the run to the maintenance."""
    shown = re.findall(r"^│ ([a-z]+)  ", printed(capsys, "--help"), flags=re.MULTILINE)
    assert shown == VERBS
    work = ["init", "check", "plan", "run", "status", "verify", "forget"]
    assert [verb for verb in shown if verb in work] == work


@pytest.mark.parametrize("verb", VERBS)
def test_each_help_has_an_example_its_exit_codes_and_its_page(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example parses, the codes exist, and the page has the section."""
    monkeypatch.setenv("COLUMNS", "200")
    text = printed(capsys, verb, "--help")
    [example] = re.findall(r"^For example:\n  harvester (.+)$", text, flags=re.MULTILINE)
    words = shlex.split(example.partition(" > ")[0])
    assert words[0] == verb
    app.parse_args(words, exit_on_error=False, print_error=False)
    codes = text.partition("Exit codes:\n")[2].partition("\n\n")[0]
    found = re.findall(r"\d+", " ".join(re.findall(r"^  ([\d, ]+)  ", codes, flags=re.MULTILINE)))
    assert found
    assert {int(code) for code in found} <= {int(code) for code in Exit}
    # What stands before the options is printed as it is, so it has to fit a terminal.
    assert max(map(len, text.partition("╭")[0].splitlines())) <= 80
    page, _, anchor = text.rstrip().rpartition("Documentation: ")[2].partition("#")
    assert anchor in anchors(ROOT / page)


@pytest.mark.parametrize(
    ("line", "problem", "advice"),
    [
        ("rnu", "there is no verb `rnu`", "did you mean `run`?"),
        ("help rnu", "there is no verb `rnu`", "did you mean `run`?"),
        ("-x", "there is no verb `-x`", "the verbs are init, check, plan, run"),
        ("run --acounts x", "`harvester run` has no option `--acounts`", "`--accounts`?"),
        ("plan --dry-run", "`harvester plan` has no option `--dry-run`", "`harvester help plan`"),
        ("run --output", "--output has no value", "`harvester help run`"),
        ("plan a b", "`harvester plan`: one word too many: `b`", "separate several names by"),
        ("run --progress ber", "--progress: no such choice `ber`", "did you mean `bar`?"),
        ("plan --format yaml", "--format: no such choice `yaml`", "write one of text, json"),
        ("sandbox --port x", "--port: `x` is not a whole number", "`harvester help sandbox`"),
        ("run --output a --output b", "--output is given twice", "leave one of them out"),
        ("explain", "`harvester explain` needs CODE", "`harvester help explain`"),
        ("sql", "`harvester sql` needs --engine", "`harvester help sql`"),
        ("report", "`harvester report` needs --html", "`harvester help report`"),
    ],
)
def test_a_mistake_of_a_command_line_names_place_and_remedy(
    line: str, problem: str, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the same form as any other error, on two lines that are never wrapped."""
    assert invoke(line.split()) == Exit.USAGE
    told, gap, remedy = capsys.readouterr().err.splitlines()
    assert (told, gap) == (f"error: {problem}", "")
    assert advice in remedy


def test_a_variable_with_a_wrong_value_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The place of the mistake is the variable, because no option was typed."""
    monkeypatch.setenv("HARVESTER_FORMAT", "xml")
    assert invoke(["plan"]) == Exit.USAGE
    assert "error: HARVESTER_FORMAT: no such choice `xml`" in capsys.readouterr().err


def test_a_mistyped_secret_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """A word that looks like a secret is left out of the message."""
    secret = "0123456789abcdef" * 2
    for words in (["plan", "a", secret], [secret], ["run", "--progress", secret]):
        assert invoke(words) == Exit.USAGE
        assert secret not in capsys.readouterr().err


def test_a_dry_run_is_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints what `plan` prints, and writes nothing."""
    manifest = tmp_path / "jobs.yaml"
    assert invoke(["init", str(manifest)]) == Exit.DONE
    planned = printed(capsys, "plan", str(manifest), "--datasets", "*_hour")
    dry = "run", str(manifest), "--datasets", "*_hour", "--dry-run", "--progress", "log"
    assert planned == printed(capsys, *dry)
    assert [*tmp_path.iterdir()] == [manifest]
    assert invoke(["run", str(manifest), "--dry-run", "--max-duration", "50"]) == Exit.USAGE


def test_an_output_that_cannot_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 2, and the message has the folder."""
    manifest = tmp_path / "jobs.yaml"
    printed(capsys, "init", str(manifest))
    assert invoke(["run", str(manifest), "--output", "/proc/nowhere/out"]) == Exit.USAGE
    told = capsys.readouterr().err
    assert "error: /proc/nowhere/out: the output cannot be written there: No such file" in told
    assert "name another folder, or correct its permissions" in told


def test_init_says_what_to_type_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The proposed commands name the new file."""
    said = printed(capsys, "init", str(tmp_path / "my jobs.yaml"))
    assert f"\n    harvester run '{tmp_path}/my jobs.yaml'\n" in said
    assert invoke(["sandbox", "--port", "99999999"]) == Exit.USAGE
    assert "Must be <= 65535" in capsys.readouterr().err
