"""Attributes of accounts: any names with text values, which select like tags."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harvester.cli import invoke
from harvester.core.config.settings import Manifest
from harvester.core.errors import ManifestError, UsageError
from harvester.manifest.loader import read
from harvester.manifest.narrowing import Selection, narrow

A, B, C = (f"wx{number:016x}" for number in (1, 2, 3))
NOW = time.time()
ACCOUNTS = f"""
api: {{base_url: sandbox}}
accounts:
  - {{appid: {A}, tags: [retail], attributes: {{client: Acme, region: 华东}}}}
  - {{appid: {B}, tags: [retail, food], attributes: {{client: Acme, region: 华南}}}}
  - {{appid: {C}, tags: [food], attributes: {{client: "Bank = 1, the first"}}}}
jobs:
"""


def made(folder: Path, job: str) -> Manifest:
    """Load a manifest of three accounts with this job."""
    (folder / "jobs.yaml").write_text(f"{ACCOUNTS}  - {{accounts: {job}}}\n")
    return read(folder / "jobs.yaml", environ={}, now=NOW).manifest()


@pytest.mark.parametrize(
    ("accounts", "expected"),
    [
        ("client=Acme", [A, B]),
        ("[client=Acme, region=华南]", [A, B]),
        (f"[{C}, region=华东]", [C, A]),
        ("[client=Acme, client=Acme]", [A, B]),
        ('["client = Bank = 1, the first"]', [C]),
        ("{attributes: {client: Acme}}", [A, B]),
        ("{attributes: {client: Acme, region: [华东, 华南]}, tags: food}", [B]),
        ("{tags: food, except: region=华南}", [C]),
        (f"{{attributes: {{client: Acme}}, except: [{B}]}}", [A]),
    ],
)
def test_a_job_selects_by_attribute(tmp_path: Path, accounts: str, expected: list[str]) -> None:
    """Beside appids in a list any of them counts; in a mapping all of them, and the tags."""
    assert list(made(tmp_path, accounts).jobs[0].appids) == expected


@pytest.mark.parametrize(
    ("accounts", "said"),
    [
        ("cleint=Acme", "8:16: unknown attribute `cleint` (did you mean `client`?)"),
        ("[region=北]", "8:17: unknown attribute `region=北` (did you mean `region=华"),
        (
            "{attributes: {region: north}}",
            "8:38: unknown attribute `region=north` (did you mean `region=华",
        ),
        ("{attributes: {area: x}, tags: food}", "unknown attribute `area` (known are client, re"),
        ("{except: [area=x]}", "8:26: unknown attribute `area` (known are client, region)"),
    ],
)
def test_an_unknown_attribute_is_told_with_the_known_ones(
    tmp_path: Path, accounts: str, said: str
) -> None:
    """In each place where a job may name one."""
    with pytest.raises(ManifestError) as error:
        made(tmp_path, accounts)
    assert said in str(error.value)


def test_the_command_line_selects_by_attribute(tmp_path: Path) -> None:
    """Beside appids, names and tags; an unknown one is an error that names the known ones."""
    whole = made(tmp_path, "all")

    def chosen(*words: str) -> list[str]:
        return [one.appid for one in narrow(whole, Selection(accounts=words), NOW).accounts]

    assert chosen("client=Acme") == [A, B]
    assert chosen("region=华东", C) == [A, C]
    assert chosen("tag:food", "region=华东") == [A, B, C]
    for word, hint in {
        "cient=Acme": "did you mean `client`?",
        "client=Acne": "did you mean `client=Acme`?",
    }.items():
        with pytest.raises(UsageError, match=word.split("=")[0]) as error:
            chosen(word)
        assert error.value.advice == hint


def test_columns_of_an_accounts_file_are_attributes(tmp_path: Path) -> None:
    """One column each; an empty cell is no attribute, and a cell is always text."""
    (tmp_path / "a.csv").write_text(
        f"appid,attr.client,attr.区域,attr.since\n{A},Acme,华东,2024\n{B},,华南,\n"
    )
    text = "api: {base_url: sandbox}\naccounts_file: a.csv\njobs: [{accounts: 区域=华东}]\n"
    (tmp_path / "jobs.yaml").write_text(text)
    found = read(tmp_path / "jobs.yaml", environ={}, now=NOW).manifest()
    assert [account.attributes for account in found.accounts] == [
        {"client": "Acme", "区域": "华东", "since": "2024"},
        {"区域": "华南"},
    ]
    assert found.jobs[0].appids == (A,)


def test_mistakes_in_attributes_have_their_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Values are text, names have no `=`, and a column needs a name."""
    (tmp_path / "a.csv").write_text(f"appid,attr.\n{C},x\n")
    (tmp_path / "jobs.yaml").write_text(
        "api: {base_url: sandbox}\naccounts_file: a.csv\naccounts:\n"
        f"  - {{appid: {A}, attributes: {{client: 7}}}}\n"
        f"  - {{appid: {B}, attributes: {{a=b: x}}}}\n"
        "jobs: [{}]\n"
    )
    assert invoke(["plan", str(tmp_path / "jobs.yaml")]) == 2
    said = capsys.readouterr().err
    assert "jobs.yaml:4:54: `client` must be text (quote it)" in said
    assert "jobs.yaml:5:51: `a=b` must have a name without `=` and `,`" in said
    assert "a.csv: row 1, column 2: unknown column `attr.` (known are appid" in said
    assert "attr.NAME)" in said
