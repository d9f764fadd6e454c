"""The workbooks of examples/excel, read as Excel reads them: from the XML in the file."""

from __future__ import annotations

import datetime as dt
import importlib.util
import re
import zipfile
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from xml.etree import ElementTree as ET

import duckdb
import pytest

from harvester.core import calendar
from harvester.manifest import loader
from tests.support.doc_pages import ROOT

EXAMPLE = ROOT / "examples/excel"
NOW = calendar.instant(calendar.parse_day("2026-06-15"), 12 * 60)
EPOCH = dt.date(1899, 12, 30)
MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


class Cell(NamedTuple):
    """A cell: its value, whether it is a text, and its format."""

    value: str
    is_text: bool
    form: str
    is_quoted: bool


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location(
        "client_workbooks", EXAMPLE / "client_workbooks.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(path: Path) -> dict[str, list[list[Cell | None]]]:
    """Return the rows of each sheet. No cell may be a formula or a link."""
    with zipfile.ZipFile(path) as book:
        parts = {name: ET.fromstring(book.read(name)) for name in book.namelist()}
    styles = parts["xl/styles.xml"]
    codes = {
        each.get("numFmtId"): each.get("formatCode", "") for each in styles.iter(f"{MAIN}numFmt")
    }
    [formats] = styles.iter(f"{MAIN}cellXfs")
    found: dict[str, list[list[Cell | None]]] = {}
    for number, sheet in enumerate(parts["xl/workbook.xml"].iter(f"{MAIN}sheet"), 1):
        data = parts[f"xl/worksheets/sheet{number}.xml"]
        assert not [*data.iter(f"{MAIN}f"), *data.iter(f"{MAIN}hyperlink")]
        rows = found.setdefault(sheet.get("name", ""), [])
        for row in data.iter(f"{MAIN}row"):
            rows.append([None] * len(rows[0] if rows else row))
            for cell in row:
                column = re.sub(r"\d", "", cell.get("r", ""))
                form = formats[int(cell.get("s", "0"))]
                code = codes.get(form.get("numFmtId"), form.get("numFmtId", ""))
                is_text = cell.get("t") == "inlineStr"
                text = "".join(cell.itertext())
                rows[-1][ord(column) - 65] = Cell(text, is_text, code, "quotePrefix" in form.attrib)
    return found


def tables(con: duckdb.DuckDBPyConnection, views: tuple[str, ...], count: int) -> None:
    """Make a table in the place of each view: days of May, and one of June."""
    for view in views:
        con.execute(
            f"""
            create table "{view}" as
            select
                date '2026-05-01' + cast(day % 31 as int) as "数据日期", '=1+1' as "账号",
                'wx0000000000000001' as "AppID", client as "客户", 12345 as "新增关注人数",
                0.1234 as "完读率", 1.5 as "平均", day = 1 as "累计值下降",
                '=HYPERLINK("http://x")' as "标题", '一' as "链接", null as "空",
                '可能更新' as "数据状态"
            from range(0, {count}) as days(day), (values ('Acme'), ('B/B')) as clients(client)
            union all by name
            select date '2026-06-01' as "数据日期", 'Acme' as "客户"
            """
        )
    con.execute(
        "create table accounts as select 'wx' as appid, map {'client': client} as attributes"
        " from (values ('Acme'), ('B/B'), (null)) as clients(client)"
    )


def test_a_cell_is_what_its_value_is(
    program: ModuleType, duck: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """Appids are text, shares have a percent format, and no title is a formula."""
    tables(duck, program.VIEWS, 2)
    program.write_workbook(duck, tmp_path / "book.xlsx", "Acme", "2026-05")
    book = read(tmp_path / "book.xlsx")
    assert tuple(book) == program.VIEWS
    for headings, first, second in book.values():
        assert [cell and cell.value for cell in headings][:3] == ["数据日期", "账号", "AppID"]
        assert first[0] == Cell(str((dt.date(2026, 5, 1) - EPOCH).days), False, "yyyy-mm-dd", False)
        assert first[1] == Cell("=1+1", True, "@", True)
        assert first[2] == Cell("wx0000000000000001", True, "@", False)
        assert first[4] == Cell("12345", False, "#,##0", False)
        assert first[5] == Cell("0.1234", False, "0.0%", False)
        assert first[6] == Cell("1.5", False, "#,##0.00", False)
        assert first[7:11] == [
            Cell("否", True, "0", False),
            Cell('=HYPERLINK("http://x")', True, "@", True),
            Cell("一", True, "@", False),
            None,
        ]
        assert second[7] == Cell("是", True, "0", False)


def test_a_full_sheet_goes_on_in_another(
    program: ModuleType,
    duck: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No row is lost, and each sheet has the headings."""
    assert program.ROWS == 1_048_576
    monkeypatch.setattr(program, "ROWS", 6)
    tables(duck, program.VIEWS, 12)
    program.write_workbook(duck, tmp_path / "book.xlsx", "Acme", "2026-05")
    book = read(tmp_path / "book.xlsx")
    for view in program.VIEWS:
        parts = [book.pop(view), book.pop(f"{view} 2"), book.pop(f"{view} 3")]
        assert [len(part) for part in parts] == [6, 6, 3]
        assert parts[0][0] == parts[1][0] == parts[2][0]
        days = [int(row[0].value) for part in parts for row in part[1:] if row[0]]
        assert days == [*range(days[0], days[0] + 12)]
    assert not book


def test_each_client_gets_a_workbook_of_its_accounts(
    program: ModuleType, harvested: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the views of an output that a run wrote: a month, without the accounts of others."""
    program.main(str(harvested), "2026-05", str(tmp_path))
    files = [tmp_path / "Acme 2026-05.xlsx", tmp_path / "晨光_书店 2026-05.xlsx"]
    assert capsys.readouterr().out.split("\n") == [*map(str, files), ""]
    accounts = {"wx0000000000000001", "wx0000000000000003"}
    for file, appids in zip(files, (accounts, {"wx0000000000000002"}), strict=True):
        book = read(file)
        assert tuple(book) == program.VIEWS
        for headings, *rows in book.values():
            names = [cell and cell.value for cell in headings]
            assert names[:4] == ["数据日期", "账号", "AppID", "客户"]
            assert names[-1] == "数据状态"
            assert {row[2] and row[2].value for row in rows} == appids
            assert all(row[1] and row[1].is_text and row[1].is_quoted for row in rows)
            assert {row[-1] and row[-1].value for row in rows} <= {"可能更新", "已确定"}
        shares = [
            cell for row in book["接口日报"][1:] for cell in row if cell and cell.form == "0.0%"
        ]
        assert len(shares) == len(book["接口日报"]) - 1
        assert all(0 <= float(cell.value) <= 1 for cell in shares)
        assert len(book["关注日报"]) == 1 + 19 * len(appids)


def test_a_wrong_client_is_named(program: ModuleType, harvested: Path, tmp_path: Path) -> None:
    """With those that there are, and no file is written."""
    with pytest.raises(
        SystemExit, match=r"no account has the client \['Acmee'\]; there are .*Acme"
    ):
        program.main(str(harvested), "2026-05", str(tmp_path), "Acmee")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("month", ["2026-13", "9999-12", "May"])
def test_a_wrong_month_is_named(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], month: str
) -> None:
    """Exit 2 before anything is read or written."""
    with pytest.raises(SystemExit) as stopped:
        program.main(str(tmp_path / "none"), month, str(tmp_path / "books"))
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"`{month}` is not a month like 2026-05\n"
    assert not [*tmp_path.iterdir()]


def test_names_of_files_are_names(program: ModuleType) -> None:
    """A client's name leads to no other folder, and two clients to two files."""
    assert program.file_name("晨光/../书店\n", "2026-05", 1) == "晨光_.._书店_ 2026-05.xlsx"
    assert program.file_name("...", "2026-05", 2) == "_ (2) 2026-05.xlsx"


def test_the_manifest_harvests_the_month_of_the_page() -> None:
    """The commands of the page, without a credential."""
    page = (EXAMPLE / "README.md").read_text("utf-8")
    made = loader.read(EXAMPLE / "jobs.yaml", environ={}, now=NOW).manifest()
    assert made.api.is_sandbox
    assert Path(made.output.path).resolve() == (ROOT / "examples/output/clients").resolve()
    [command] = re.findall(r"^python (\S+) (\S+) (\d{4}-\d\d) \w+$", page, flags=re.MULTILINE)
    assert command == ("examples/excel/client_workbooks.py", "examples/output/clients", "2026-05")
    assert {account.attributes["client"] for account in made.accounts} == {"Acme", "晨光"}
