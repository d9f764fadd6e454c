"""The page of ``report`` in Chromium: what is drawn, read aloud, filtered, printed and copied."""

from __future__ import annotations

import base64
import itertools
import re
import shlex
import subprocess
import time
import zlib
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import harvester
from tests.browser import stories
from tests.browser.made_pages import (
    DEFERRED,
    FAILED,
    NEWEST,
    NOT_ASKED,
    QUARANTINED,
    QUOTA,
    REFUSED,
    ROWS,
    Made,
)
from tests.browser.visits import HERE, visit

pytestmark = pytest.mark.slow

Written = Callable[..., Path]

SIZES = [(360, 740), (768, 1024), (1280, 900), (1920, 1080)]
EDGES = [(320, 600), (601, 700), (920, 700), (921, 700)]
"""The smallest window, and those beside a change of the layout."""

CLASS_OF = [0, 2, 3, 4, 3, 5, 5, 5, 5, 6, 6, 6, 1]
NAMES = ["needs a person", "comes by itself", "may change", "empty", "there", "paused"]
WORST = [6, 5, 4, 3, 2, 1]
"""The places of ``NAMES`` in the order from better to worse."""

WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
DESCRIPTION = """
canvas.getAttribute("aria-describedby").split(" ")
  .map((id) => document.getElementById(id).innerText)
"""
COLOURS = """
new Set(new Uint32Array(pen.getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size
"""


def cell(row: int | str, period: int) -> str:
    """Return the script that presses on a cell of the map."""
    return f"moveTo({row}, {period}); openDetail()"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_page_fits_its_window(
    written: Written, tmp_path: Path, size: tuple[int, int], *, dark: bool
) -> None:
    """It is drawn without an error or a request, no wider than the window, in many colours."""
    picture = str(tmp_path / "page.png")
    found = visit(
        written(60, 730, sets=3),
        ["evaluate", WIDER],
        ["evaluate", COLOURS],
        ["accessibility"],
        ["screenshot", picture, {"fullPage": True}],
        size=size,
        dark=dark,
        touch=size[0] == 360,
        scale=3 if size[0] == 360 else 1,
    )
    wider, colours, faults, _ = found.results
    assert (wider, faults) == (0, [])
    assert colours > 8
    assert Path(picture).stat().st_size > 20_000


@pytest.mark.parametrize("columns", [1, 59, 401])
@pytest.mark.parametrize("level", ["year", "month", "day"])
def test_each_cell_is_the_worst_of_its_days(written: Written, columns: int, level: str) -> None:
    """Years, months and days of each dataset and of all are as a second reading has them."""
    made = Made(70, columns, sets=2)
    cut = {"year": 4, "month": 7, "day": 10}[level]
    script = f"""(async () => {{
      const drawn = [];
      for (const dataset of ["", ...datasets.map(({{ name }}) => name)]) {{
        await choose({{ dataset, zoom: "{level}" }});
        drawn.push(accounts.map((_, account) => Array.from(
          {{ length: periodCount("{level}") }}, (_, period) => view.classAt(account, period))));
      }}
      return [dates, drawn];
    }})()"""
    found = visit(written(70, columns, sets=2), ["evaluate", script])
    dates, drawn = found.results[0]
    both = [
        bytes(max(days, key=lambda day: CLASS_OF[day]) for days in zip(*rows, strict=True))
        for rows in zip(*made.cells, strict=True)
    ]
    begins = [at for at, date in enumerate(dates) if at == 0 or date[:cut] != dates[at - 1][:cut]]
    for cells, expected in zip(drawn, [both, *made.cells], strict=True):
        for row, days in zip(cells, expected, strict=True):
            worst = [
                max(CLASS_OF[day] for day in days[a:b])
                for a, b in itertools.pairwise([*begins, columns])
            ]
            assert row == worst


def test_legend_counts_what_is_selected(written: Written) -> None:
    """The days of the accounts shown; a press shows the accounts that have such days."""
    made = Made(60, 400)
    found = visit(
        written(60, 400),
        ["texts", "#map .map-legend b"],
        ["fill", "#map-text", "lotus"],
        ["texts", "#map .map-legend b"],
        ["evaluate", "view.rows"],
        ["click", "#map .map-legend button >> nth=0"],
        ["evaluate", "view.rows"],
        ["fragment"],
        ["click", "#map .map-legend button >> nth=0"],
        ["evaluate", "view.rows.length"],
    )
    before, _, after, lotus, _, broken, fragment, _, again = found.results
    assert before == counts(made, range(60))
    assert after == counts(made, lotus)
    assert len(lotus) == 8
    assert broken == [x for x in lotus if any(CLASS_OF[day] == 6 for day in made.cells[0][x])] != []
    assert fragment == "#text=lotus&days=person"
    assert again == 8


def counts(made: Made, accounts: Any) -> list[str]:
    """Return what the legend tells of some accounts of the first dataset."""
    days = b"".join(made.cells[0][x] for x in accounts)
    numbers = [
        sum(days.count(day) for day, of in enumerate(CLASS_OF) if of == state) for state in WORST
    ]
    return [f"{number:,} day{'' if number == 1 else 's'}" for number in numbers]


def test_keyboard_reads_each_cell(written: Written) -> None:
    """The canvas has the focus; what a reader of the screen hears names account, time and state."""
    steps: list[list[Any]] = [["focus", "#map-canvas"], ["text", "#map-status"]]
    for key in [
        "ArrowLeft",
        "ArrowDown",
        "Home",
        "End",
        "PageDown",
        "Control+Home",
        "+",
        "ArrowLeft",
        "-",
    ]:
        steps += [["press", key], ["wait", 60], ["text", "#map-status"]]
    found = visit(
        written(),
        *steps,
        ["heard", "#map"],
        ["evaluate", "getComputedStyle(canvas).outlineStyle"],
        ["evaluate", DESCRIPTION],
    )
    read = found.results[1::3][:1] + found.results[4:-3:3]
    assert read[0] == "Lotus Bikes, 2026-11: missing, 26 days, refused; final, 2 days"
    assert read[1].startswith("Lotus Bikes, 2026-10: final, 31 days")
    assert read[2].startswith("Lotus Books, 2026-10: ")
    assert read[3] == "Lotus Books, 2025-10: not wanted"
    assert read[4].startswith(
        "Lotus Books, 2026-11: quarantined, 2 days; provisional, 3 days; final, "
    )
    assert read[5].startswith("Willow Tea, 2026-11: ")
    assert read[6].startswith("Lotus Bikes, 2025-10: ")
    heard, outline, described = found.results[-3:]
    assert outline != "none"
    assert 'application "Map of the days of each account"' in heard
    assert "20 of 20 accounts" in described[0]
    assert "Arrow keys" in described[1]


def test_enter_opens_a_detail_and_escape_closes_it(written: Written) -> None:
    """The remedy comes before the line; the focus goes there and comes back."""
    found = visit(
        written(),
        ["focus", "#map-canvas"],
        ["press", "Enter"],
        ["text", "#map-detail"],
        ["evaluate", "document.activeElement.id"],
        ["accessibility"],
        ["press", "Escape"],
        ["visible", "#map-detail"],
        ["evaluate", "document.activeElement.id"],
    )
    _, _, text, focused, faults, _, is_open, after = found.results
    assert "Lotus Bikes" in text
    assert "WeChat's code 48001" in text
    assert "Ask the client to authorise the account again." in text
    assert text.index("Ask the client") < text.index("harvester run")
    assert (focused, faults, is_open, after) == ("map-detail", [], False, "map-canvas")


def test_detail_tells_the_code_of_its_own_dataset(written: Written) -> None:
    """The detail of another dataset does not have it."""
    script = """(async () => {
      facts.causes = facts.causes.filter(([dataset]) => dataset === 0);
      const told = [];
      for (const { name } of datasets) {
        await choose({ dataset: name });
        moveTo(0, periodCount(choice.zoom) - 1);
        await openDetail();
        told.push(detail.innerText.includes("WeChat's code 48001"));
      }
      return told;
    })()"""
    assert visit(written(sets=2), ["evaluate", script]).results == [[True, False]]


@pytest.mark.parametrize(
    ("state", "requests", "refetch"),
    [
        (NOT_ASKED, 2, None),
        (QUOTA, 2, None),
        (DEFERRED, 2, None),
        (FAILED, 2, None),
        (REFUSED, 2, "refused"),
        (QUARANTINED, 2, "quarantined"),
        (ROWS, 0, None),
    ],
)
def test_press_gives_the_line_that_fills_a_gap(
    browser: None, tmp_path: Path, state: int, requests: int, refetch: str | None
) -> None:
    """Its price is a request for each span of 30 days that was begun."""
    made = Made(1, 100)
    made.cells[0][0] = bytes([ROWS] * 40 + [state] * 31 + [ROWS] * 29)
    page = made.write(tmp_path / "report.html")
    found = visit(
        page,
        ["evaluate", f"choose({{ zoom: 'day' }}).then(() => {{ {cell(0, 50)} }})"],
        ["wait", 100],
        ["texts", "#map-detail .map-command"],
        ["evaluate", "[dates[40], dates[70], accounts[0].appid]"],
        ["evaluate", "detail.querySelector('.map-command button')?.click()"],
        ["evaluate", "String(getSelection())"],
    )
    _, _, boxes, (first, last, appid), _, copied = found.results
    if not requests:
        assert (boxes, copied) == ([], "")
        return
    line = f"harvester run jobs.yaml --accounts {appid} --datasets interface_summary"
    line += f" --begin-date {first} --end-date {last}" + (
        f" --refetch {refetch}" if refetch else ""
    )
    assert len(boxes) == 1
    assert f"{requests} requests" in boxes[0]
    assert line in boxes[0]
    assert copied == line


def test_paused_days_tell_the_reason(written: Written) -> None:
    """And the days before the pause do not."""
    found = visit(
        written(),
        ["evaluate", "choose({ zoom: 'day', sort: 'name' })"],
        ["evaluate", "view.rows.indexOf(15)"],
        ["evaluate", f"{cell('view.rows.indexOf(15)', 390)}"],
        ["wait", 100],
        ["texts", "#map-detail li"],
        ["evaluate", f"{cell('view.rows.indexOf(15)', 100)}"],
        ["wait", 100],
        ["texts", "#map-detail li"],
    )
    paused, before = found.results[4], found.results[7]
    assert "paused" in paused[0]
    assert paused[0].endswith("moving <b>")
    assert before
    assert "moving" not in "".join(before)


@pytest.mark.parametrize(
    ("period", "gap", "told"),
    [
        (("week", 1), ("2026-09-28", "2026-10-18"), ("2026-09-28", "2026-10-18", "3 requests:")),
        (("week", 15), ("2026-09-28", "2026-10-18"), ("2026-09-28", "2026-10-18", "1 request:")),
        (("week", 1), ("2026-10-26", "2026-11-08"), ("2026-10-26", "2026-10-31", "1 request:")),
        (("month", 1), ("2026-10-01", "2026-10-31"), ("2026-10-01", "2026-10-31", "1 request:")),
    ],
)
def test_weeks_and_months_are_asked_for_by_their_first_day(
    browser: None,
    tmp_path: Path,
    period: tuple[str, int],
    gap: tuple[str, str],
    told: tuple[str, str, str],
) -> None:
    """That is their price, and a week that began in the month before is in the line too."""
    grain, span = period
    made = Made(1, 100, grain=grain)
    first, last = (99 - (NEWEST - date.fromisoformat(day)).days for day in gap)
    states = [ROWS] * first + [NOT_ASKED] * (last + 1 - first) + [ROWS] * (99 - last)
    made.cells[0][0] = bytes(states)
    made.datasets[0] = (*made.datasets[0][:3], span)
    page = made.write(tmp_path / "report.html")
    found = visit(
        page,
        ["evaluate", f"choose({{ zoom: 'month' }}).then(() => {{ {cell(0, 2)} }})"],
        ["wait", 100],
        ["text", "#map-detail li"],
        ["texts", "#map-detail .map-command"],
    )
    _, _, item, (box,) = found.results
    begin, end, price = told
    assert f"{begin} – {end}" in item
    assert f"--begin-date {begin} --end-date {end}" in box
    assert price in box


def test_press_on_a_month_of_all_datasets_fills_all(written: Written) -> None:
    """Stretches that differ in their dataset alone are one, and one line fills all."""
    found = visit(
        written(sets=3),
        ["evaluate", cell(0, 13)],
        ["wait", 100],
        ["texts", "#map-detail li"],
        ["texts", "#map-detail .map-command"],
    )
    items, boxes = found.results[2:]
    assert items[0].startswith("2026-11-03 – 2026-11-28 missing, 26 days, refused")
    assert "interface_summary, user_summary, user_cumulate" in items[0]
    assert "9 requests" in boxes[0]  # 1 + 4 + 4
    assert (
        "--datasets interface_summary,user_cumulate,user_summary --begin-date 2026-11-03"
        in boxes[0]
    )


def test_mouse_hovers_zooms_and_opens(written: Written) -> None:
    """A cell tells itself below the pointer; the wheel with Control and the dates zoom."""
    place = "(() => { const box = canvas.getBoundingClientRect(); return [box.left, box.top]; })()"
    page = written()
    left, top = visit(page, ["evaluate", place]).results[0]
    x, y = left + 260, top + 42 + 46 + 30
    found = visit(
        page,
        ["hoverAt", x, y],
        ["text", ".map-tip"],
        ["wheel", x, y, -100],
        ["wait", 100],
        ["fragment"],
        ["wheel", x, y, 100],
        ["wheel", x, y, 100],
        ["wait", 100],
        ["fragment"],
        ["click", ".map-zoom button >> nth=1"],
        ["clickAt", x, y - 40],
        ["wait", 100],
        ["fragment"],
        ["evaluate", "periodLabel('day', cursorPeriod()).slice(0, 7)"],
        ["click", ".map-zoom button >> nth=1"],
        ["wait", 100],
        ["clickAt", x, y],
        ["wait", 100],
        ["text", "#map-detail h3"],
    )
    results = found.results
    assert results[1] == "Lotus Books, 2025-10: not wanted"
    assert results[4] == "#zoom=day"
    assert results[8] == "#zoom=year"
    assert (results[12], results[13]) == ("#zoom=day", "2025-10")
    assert results[-1] == "Lotus Books"


def test_filters_are_in_the_address_and_come_back(written: Written) -> None:
    """An address of another page, or by hand, is read as far as it makes sense."""
    page = written(60, 400, sets=3)
    rows = ["evaluate", "view.rows.map((account) => accounts[account].name).sort()"]
    found = visit(
        page,
        ["fill", "#map-text", "Wx000000003C5"],
        rows,
        ["fill", "#map-text", "TEA"],
        ["select", "#map-tag", "north"],
        rows,
        ["select", "#map-attribute", "client=acme"],
        ["select", "#map-state", "pending"],
        ["select", "#map-dataset", "user_summary"],
        ["select", "#map-sort", "name"],
        ["wait", 100],
        rows,
        ["fragment"],
        ["click", ".map-reset"],
        ["evaluate", "view.rows.length"],
        ["fragment"],
        ["open", CHOSEN],
        rows,
        ["evaluate", "Object.values(controls).map((control) => control.value)"],
        ["open", "#dataset=nowhere&zoom=century&sort=odd&days=bad&tag=%00"],
        ["evaluate", "[choice.dataset, choice.zoom, view.rows.length]"],
        ["fill", "#map-text", "no such name"],
    )
    results = found.results
    assert results[1] == sorted(results[1]) != []
    assert len(results[4]) > 1
    assert all("Tea" in name for name in results[4])
    assert results[11] == CHOSEN
    assert results[13:15] == [60, ""]
    assert results[16] == results[10]
    assert results[17] == ["TEA", "user_summary", "north", "client=acme", "pending", "name"]
    assert results[19] == ["", "month", 0]


def test_dark_differs_from_light_and_paper_is_light(written: Written, tmp_path: Path) -> None:
    """The map has the colours of the page; paper has no controls."""
    printing = (
        "new Promise((done) => { dispatchEvent(new Event('beforeprint')); done(ink.paper); })"
    )
    page = written()
    found = visit(
        page,
        ["evaluate", "ink.paper"],
        ["evaluate", printing],
        ["evaluate", "(dispatchEvent(new Event('afterprint')), ink.paper)"],
        ["pdf", str(tmp_path / "page.pdf")],
        ["media", {"colorScheme": "light"}],
        ["wait", 200],
        ["evaluate", "ink.paper"],
        ["media", {"media": "print"}],
        ["visible", ".map-controls"],
        ["visible", ".map-legend"],
        ["visible", "#map-canvas"],
        dark=True,
    )
    dark, paper, after, size, _, _, light, _, controls, legend, canvas = found.results
    assert dark == after != light == paper
    assert size > 20_000
    assert (controls, legend, canvas) == (False, True, True)


CHOSEN = "#text=TEA&tag=north&attribute=client%3Dacme&state=pending&sort=name&dataset=user_summary"

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "'; rm -rf ~; echo '",
    "\u202egnp.exe\u202c and {account} {parts}",
    "a" * 5_000,
    "--begin-date",
    "",
]


def test_hostile_names_are_text(browser: None, tmp_path: Path) -> None:
    """No name, appid, tag or attribute becomes markup, or more than one word of a shell."""
    named = [
        {"name": name, "appid": name or "wx0", "tags": [name], "attributes": {name: name}}
        for name in HOSTILE
    ]
    made = Made(len(HOSTILE), 60, named=named)
    made.cells[0][:] = [bytes([NOT_ASKED] * 60)] * len(HOSTILE)
    script = f"""(async () => {{
      const told = [];
      for (let row = 0; row < {len(HOSTILE)}; row++) {{
        moveTo(row, 5);
        await openDetail();
        const name = accounts[view.rows[row]].appid;
        const [title, line] = ["h3", "pre"].map((tag) => detail.querySelector(tag).textContent);
        const isIsolated = status.textContent.startsWith(`\\u2068${{title}}\\u2069, 2026-`);
        if (!isIsolated) throw new Error(status.textContent);
        told.push([name, title, line]);
      }}
      return told;
    }})()"""
    page = made.write(tmp_path / "report.html")
    found = visit(
        page,
        ["evaluate", script],
        ["evaluate", "document.querySelectorAll('img, script[src]').length"],
    )
    told, elements = found.results
    assert elements == 0
    assert len(told) == len(HOSTILE)
    for appid, title, line in told:
        words = shlex.split(line)
        assert title == appid or (title, appid) == ("wx0", "wx0")
        given = words[words.index("jobs.yaml") + 1 :]
        # What begins with a dash would be an option behind a blank.
        is_joined = appid.startswith("-")
        assert given[:2] == (
            [f"--accounts={appid}", "--datasets"] if is_joined else ["--accounts", appid]
        )
        assert words[-4:] == ["--begin-date", "2026-09-30", "--end-date", "2026-11-28"]


def test_page_for_a_client_has_no_command(written: Written) -> None:
    """Neither has it a remedy."""
    page = written(for_client=True)
    found = visit(page, ["evaluate", cell(0, 13)], ["wait", 100], ["text", "#map-detail"])
    text = found.results[-1]
    assert "missing, 26 days, refused" in text
    assert "harvester" not in text
    assert "Ask the client" not in page.read_text("utf-8")


def test_page_in_chinese(written: Written) -> None:
    """Nothing that the script says is English."""
    page = written(lang="zh")
    found = visit(
        page,
        ["focus", "#map-canvas"],
        ["text", "#map-status"],
        ["texts", ".map-legend span"],
        ["texts", ".map-controls label > span"],
        ["texts", ".map-zoom button"],
        ["press", "Enter"],
        ["text", "#map-detail"],
        ["accessibility"],
    )
    _, status, legend, labels, levels, _, detail, faults = found.results
    assert status == "莲花单车，2026-11：缺失，26 天，被拒绝；已确定，2 天"  # noqa: RUF001
    assert legend[0] == "需人工处理"
    assert levels == ["年", "月", "日"]
    assert all(not label.isascii() for label in labels)
    assert "微信返回码 48001" in detail
    assert faults == []


def test_page_of_a_run(browser: None, tmp_path: Path) -> None:
    """A page of a real output, with its tables, in both languages, small and large."""
    with stories.told(tmp_path, 12) as manifest:
        for lang, size in itertools.product(("en", "zh"), [*SIZES, *EDGES]):
            harvester.report(manifest, html="report.html", lang=lang)  # type: ignore[arg-type]
            found = visit(
                Path("report.html").resolve(),
                ["evaluate", WIDER],
                ["accessibility"],
                ["focus", "#map-canvas"],
                ["text", "#map-status"],
                size=size,
            )
            assert found.results[:2] == [0, []]
            assert "2026-11-28" in found.results[3]


def test_page_without_accounts_or_days_stands(written: Written) -> None:
    """There is no map, and nothing fails."""
    for page in (written(0, 30), written(3, 0, sets=0)):
        found = visit(page, ["visible", "h1"], ["visible", "canvas >> nth=0"], drawn=False)
        assert found.results == [True, False]


def test_old_page_says_so(written: Written) -> None:
    """A page is old after a day."""
    now = time.time()
    for age, expected in [
        (0.9, []),
        (1.1, ["This page is 1 day old."]),
        (3.5, ["This page is 3 days old."]),
    ]:
        assert visit(written(made_at=now - age * 86400), ["texts", ".old"]).results == [expected]


@pytest.mark.parametrize(
    "days", ["AAAA", base64.b64encode(zlib.compress(bytes(7))).decode()], ids=["torn", "short"]
)
def test_damaged_days_are_told(written: Written, days: str) -> None:
    """The page says that there is no map, and why."""
    page = written()
    text = re.sub('(?<=id="days-0">)[^<]+', days, page.read_text("utf-8"))
    page.write_text(text, "utf-8")
    found = visit(page, ["texts", "#map > .old"], quiet=False)
    assert found.results[0][0].startswith("The map cannot be drawn: ")


def test_page_without_script_stands(written: Written) -> None:
    """The sentence is there, and a hint in the place of the map."""
    found = visit(written(), ["visible", "h1"], ["text", "#map"], script=False)
    assert found.results[0]
    assert "JavaScript" in found.results[1]


@pytest.mark.parametrize(
    ("accounts", "columns", "sets", "shape"),
    [(300, 730, 15, "realistic"), (10_000, 3_652, 1, "realistic"), (10_000, 3_652, 1, "random")],
)
def test_large_pages_are_drawn(
    written: Written,
    capsys: pytest.CaptureFixture[str],
    *,
    accounts: int,
    columns: int,
    sets: int,
    shape: str,
) -> None:
    """The times are printed: bounds of an idle machine are in docs/report.md."""
    page = written(accounts, columns, sets=sets, shape=shape)
    script = """(async () => {
      const times = [];
      for (const text of ["a", "acme", "acme tea", "wx00", "", "4", "no such name", ""]) {
        const begin = performance.now();
        await choose({ text });
        times.push(performance.now() - begin);
      }
      return Math.max(...times);
    })()"""
    scroll = """(() => {
      scroller.scrollTop = 1e5;
      const begin = performance.now();
      paint();
      return performance.now() - begin;
    })()"""
    found = visit(
        page, ["evaluate", script], ["evaluate", scroll], ["evaluate", "view.rows.length"]
    )
    longest, painting, rows = found.results
    assert rows == accounts
    assert found.painted is not None
    with capsys.disabled():
        size = page.stat().st_size / 1e6
        print(  # noqa: T201
            f"\n{accounts:,} accounts, {columns:,} days, {sets} datasets, {shape}: {size:.2f} MB, "
            f"painted after {found.painted:.0f} ms, slowest filter {longest:.0f} ms, "
            f"a scroll {painting:.1f} ms"
        )


def test_script_is_linted(browser: None) -> None:
    """The same linter that ``npm run lint`` starts."""
    done = subprocess.run(
        ["npm", "run", "-s", "lint"], check=False, cwd=HERE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
