"""The accounts file: CSV from spreadsheets."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

from harvester.core import calendar
from harvester.core.config.settings import Account, Credential, Manifest
from harvester.core.errors import ManifestError
from harvester.manifest import loader
from harvester.manifest.accounts_file import csv_rows

NOW = calendar.instant(calendar.parse_day("2026-06-15"), 12 * 60)
ONE = "wx0000000000000001"
TWO = "wx0000000000000002"


def load(folder: Path, table: str | bytes, head: str = "", **environ: str) -> Manifest:
    """Load a manifest with this accounts file."""
    data = table.encode() if isinstance(table, str) else table
    (folder / "accounts.csv").write_bytes(data)
    (folder / "jobs.yaml").write_text(f"accounts_file: accounts.csv\njobs: [{{}}]\n{head}")
    return loader.read(folder / "jobs.yaml", environ=environ, now=NOW).manifest()


def test_every_column(tmp_path: Path) -> None:
    """Each column is the key of its name, in any order; tags are split by semicolons."""
    made = load(
        tmp_path,
        "token,secret,end_date,begin_date,tags,name,appid\n"
        f',${{S}},2024-01-31,2020-01-01,"a; b;;c",Acme,{ONE}\n'
        f"${{file:t/{{appid}}}},,,,,,{TWO}\n",
    )
    assert made.accounts == (
        Account(
            ONE,
            "Acme",
            tags=frozenset("abc"),
            credential=Credential(secret="${S}"),
            begin_date=calendar.parse_day("2020-01-01"),
            end_date=calendar.parse_day("2024-01-31"),
        ),
        Account(TWO, credential=Credential(token="${file:t/{appid}}")),
    )


@pytest.mark.parametrize(
    "table",
    [
        f"\ufeffappid,name\n{ONE},a\n",
        f"appid,name\r\n{ONE},a\r\n",
        f"appid,name\n\n{ONE},a\n\n\n",
        f"appid,name\n,\n{ONE},a\n,\n , ,,\n",
        f"appid,name\n{ONE},a",
        f' appid ,"name"\n {ONE},  "a"\n',
    ],
    ids=[
        "byte order mark",
        "Windows",
        "empty lines",
        "empty rows",
        "no line end",
        "blanks and quotes",
    ],
)
def test_spreadsheet_formats_are_accepted(tmp_path: Path, table: str) -> None:
    """Blanks, empty rows, quotes and line ends around the cells change nothing."""
    made = load(tmp_path, table, "api: {base_url: sandbox}")
    assert [(account.appid, account.name) for account in made.accounts] == [(ONE, "a")]


def test_listed_accounts_come_before_those_of_the_file(tmp_path: Path) -> None:
    """The accounts of the manifest come first, those of the file next; defaults hold for all."""
    made = load(
        tmp_path,
        f"appid,tags\n{TWO},x\n",
        f"accounts: [{{appid: {ONE}}}]\n"
        'defaults: {credential: {secret: "${S_{appid}}"}, tags: [d], begin_date: 2020-01-01}\n',
    )
    tags = {account.appid: set(account.tags) for account in made.accounts}
    assert tags == {ONE: {"d"}, TWO: {"x"}}
    assert list(tags) == [ONE, TWO]
    assert {account.credential for account in made.accounts} == {Credential(secret="${S_{appid}}")}
    assert {account.begin_date for account in made.accounts} == {calendar.parse_day("2020-01-01")}
    assert made.jobs[0].appids == (ONE, TWO)


def test_references_in_cells(tmp_path: Path) -> None:
    """Cells may come from the environment, as values of the manifest may."""
    table = f"appid,name,tags\n{ONE},${{WHO}},${{A}};b\n"
    made = load(tmp_path, table, "api: {base_url: sandbox}", WHO="Acme", A="a")
    assert (made.accounts[0].name, set(made.accounts[0].tags)) == ("Acme", {"a", "b"})


COMMAND = 'defaults: {credential: {token_command: [get, "%s"]}}\n'
DASHED = "`name` begins with `-`, so its token_command would take it for an option"


def test_a_name_that_a_command_would_take_for_an_option_is_refused(tmp_path: Path) -> None:
    """With the place of the name, in the manifest and in the file of accounts."""
    listed = f"accounts: [{{appid: {ONE}, name: --force}}]\n" + COMMAND % "{name}"
    with pytest.raises(ManifestError) as caught:
        load(tmp_path, f"appid,name\n{TWO},-rf\n", listed)
    told = str(caught.value)
    assert f"jobs.yaml:3:{listed.index('--force') + 1}: {DASHED}" in told
    assert f"accounts.csv: row 2, column `name`: {DASHED}" in told


@pytest.mark.parametrize(("word", "name"), [("{name}", "a-b"), ("name={name}", "-a"), ("x", "-a")])
def test_other_names_may_stand_in_a_command(tmp_path: Path, word: str, name: str) -> None:
    """A name may begin with a dash where it begins no word."""
    made = load(tmp_path, f"appid,name\n{ONE},{name}\n", COMMAND % word)
    assert made.accounts[0].name == name


cells = st.text(st.sampled_from('ab,";\n\r\t 上'), max_size=6)


@hypothesis.given(st.lists(st.lists(cells, min_size=1, max_size=4), max_size=5))
def test_reads_what_the_standard_library_writes(rows: list[list[str]]) -> None:
    """Any table survives being written by a spreadsheet, but for blanks and for empty rows."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    numbered = [(number, [cell.strip(" \t") for cell in row]) for number, row in enumerate(rows, 1)]
    assert list(csv_rows(text.getvalue())) == [row for row in numbered if any(row[1])]


@pytest.mark.parametrize("text", ["", "\n", "\r\n\r\n", " ", '""', ",,,", ' ,"",'])
def test_empty_rows_are_skipped(text: str) -> None:
    """Empty lines and rows of empty cells yield no row."""
    assert list(csv_rows(text)) == []


def test_the_last_cell_may_be_empty() -> None:
    """A comma at the very end of a file still separates two cells."""
    assert list(csv_rows("a,")) == [(1, ["a", ""])]


def test_a_quote_in_a_cell_without_quotes_is_a_letter(tmp_path: Path) -> None:
    """Only a cell that begins with a quote is quoted, so 5" (inches) needs no quotes."""
    made = load(tmp_path, f'appid,name\n{ONE},5" screens\n', "api: {base_url: sandbox}")
    assert made.accounts[0].name == '5" screens'


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"PK\x03\x04....[Content_Types].xml", "is an Excel workbook or archive, not text"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Excel workbook or archive, not text"),
        ("appid,name\nwx0000000000000001,你好".encode("gbk"), "is not UTF-8 text"),
        ("appid,name\n".encode("utf-16"), "is not UTF-8 text"),
    ],
    ids=["xlsx", "xls", "GBK", "UTF-16"],
)
def test_an_accounts_file_of_excel_says_how_to_save_it(
    tmp_path: Path, data: bytes, says: str
) -> None:
    """One mistake that names the menu of Excel."""
    (tmp_path / "accounts.csv").write_bytes(data)
    (tmp_path / "jobs.yaml").write_text(
        "api: {base_url: sandbox}\naccounts_file: accounts.csv\njobs: [{}]\n"
    )
    with pytest.raises(ManifestError) as caught:
        loader.read(tmp_path / "jobs.yaml", environ={}, now=0.0).manifest()
    [mistake] = caught.value.mistakes
    assert says in mistake.what
    assert "Save As, `CSV UTF-8`" in mistake.hint
