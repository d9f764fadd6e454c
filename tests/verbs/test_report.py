"""The page of a report: states of days, what is selected alone, foreign texts, words, policy."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from importlib import resources
from pathlib import Path
from string import Formatter

import pytest

from benchmarks.programs import pictured_tree
from benchmarks.workload import Broad
from harvester.catalogue import languages
from harvester.core import calendar
from harvester.core.calendar import Day, DaySet, day_text, each_day, parse_day
from harvester.core.config.settings import Manifest, Pause
from harvester.core.dataset import Grain
from harvester.core.day_states import REASONS, DaysInState, ExplainedDays
from harvester.core.model import Partition
from harvester.planning import wanted_days
from harvester.runs.record.attention import Attention
from harvester.runs.record.expectations import Expectation
from harvester.runs.record.run_record import as_record
from harvester.sandbox import TOKEN
from harvester.sandbox.data import Row, expected_rows
from harvester.storage.state import run_records
from harvester.verbs import status
from harvester.verbs.page import cells, facts, tables
from tests.support.doc_pages import EXIT_CODES
from tests.support.hostile_texts import HOSTILE
from tests.support.output_helpers import coverage_of
from tests.support.report_pages import ATTRIBUTES, ELEMENTS, Page, page_of
from tests.support.run_harness import BOTH, DAILY, RunHarness, appid

WELL, SPENT, REFUSED, ODD, PAUSED, EMPTY = map(appid, range(1, 7))
ODD_DAY, END = "2026-03-03", "2026-03-07"
NAMES = ("Acme", "北京悦读", "Left Shop", "Odd Numbers", "Off", "Quiet")


def source(dataset: str, who: str, day: Day) -> list[Row]:
    """Rows that do not fit of one account on one day, and none of another account."""
    rows = expected_rows(dataset, who, day)
    if who == ODD and day == parse_day(ODD_DAY):
        return [{**row, "callback_count": "many"} for row in rows]
    return [] if who == EMPTY else rows


class Troubles(RunHarness):
    """Accounts of which each has another trouble."""

    def manifest(self) -> Manifest:
        """Return the manifest with names, tags, and a paused account."""
        found = super().manifest()
        accounts = [
            replace(account, name=name, tags=frozenset({f"t{at}"}), attributes={"client": name})
            for at, (account, name) in enumerate(zip(found.accounts, NAMES, strict=True))
        ]
        accounts[4] = replace(accounts[4], paused=Pause("no secret yet"))
        return replace(found, accounts=tuple(accounts))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Troubles:
    """A run of them, on the day after the last one."""
    root = tmp_path_factory.mktemp("report")
    lab = Troubles(root, accounts=6, end=END, today="2026-03-08", source=source)
    lab.limits = lab.one_of_each_at_a_time()
    lab.sandbox.fail(REFUSED, 40125, dataset=TOKEN)
    lab.sandbox.fail(SPENT, 45009, dataset=BOTH[1])
    lab.run()
    return lab


@pytest.fixture(scope="module")
def page(lab: Troubles) -> Page:
    """Their page."""
    return page_of(lab.manifest(), lab.tree, lab.now())


def by_footers(lab: Troubles, dataset: str, who: str, day: Day) -> int | None:
    """Return the number of a day's state as the footer of its file has it; None without one."""
    month = calendar.month_of(day)
    days = coverage_of(lab.tree, Partition(dataset, month, 0)).account(who)
    bit = 1 << (day - calendar.month_begin(month))
    if days.quarantined & bit:
        return 11
    empty = not days.with_rows & bit
    if days.provisional & bit:
        return 3 + empty
    return 1 + empty if days.final & bit else None


@pytest.mark.parametrize("dataset", BOTH)
def test_each_day_has_the_state_that_the_files_and_the_records_tell(
    lab: Troubles, page: Page, dataset: str
) -> None:
    """Every day of every account, compared with its footer, and with what `status` says of it."""
    reasons = {
        (gap.appid, name, day_text(day)): gap.reason
        for gap in status.survey(lab.manifest(), lab.tree, lab.now()).gaps
        for name in gap.datasets
        for begin, end in gap.ranges
        for day in range(calendar.day_of(begin), calendar.day_of(end) + 1)
    }
    found = page.days(dataset)
    for who in lab.appids:
        for day in range(parse_day("2026-03-01"), parse_day(END) + 1):
            expected = by_footers(lab, dataset, who, day)
            if expected is None:
                reason = reasons.get((who, dataset, day_text(day)), "paused")
                numbers = {"quota": 7, "refused": 9, "paused": 12}
                assert (who == PAUSED) == (reason == "paused")
                expected = numbers[reason]
            assert found[who][day_text(day)] == expected, (who, day_text(day))
    assert found[ODD][ODD_DAY] == 11


def test_all_states_are_in_this_picture(page: Page) -> None:
    """Otherwise the test above would compare less than it says."""
    numbers = {x for name in BOTH for days in page.days(name).values() for x in days.values()}
    assert numbers == {1, 3, 4, 7, 9, 11, 12}


def test_each_reason_of_a_missing_day_has_a_number_of_its_own() -> None:
    """The numbers are those of the script; a reason of a run that has none counts as deferred."""
    columns = range(calendar.FIRST_DAY, calendar.FIRST_DAY + 1)
    found = {
        reason: cells.row([DaysInState(1, "missing", reason=reason)], Grain.DAY, columns)[0]
        for reason in REASONS
    }
    assert found == {
        "not_asked": 5,
        "not_ready": 6,
        "quota": 7,
        "deferred": 8,
        "refused": 9,
        "failed": 10,
        "paused": 12,
    }


@pytest.mark.parametrize(
    ("reason", "at", "word"),
    [
        ("minute_limit", 1.0, "deferred"),
        ("of a later version", None, "failed"),
        ("refused", None, "refused"),
        ("quota", 1.0, "quota"),
    ],
)
def test_a_reason_without_a_word_of_its_own_is_one_of_the_others(
    reason: str, at: float | None, word: str
) -> None:
    """Days that a run may obtain later are deferred, and all others have failed."""
    assert ExplainedDays(DAILY, WELL, 1, at, reason).word == word


def test_rows_are_the_same_behind_their_text() -> None:
    """However many there are."""
    chance = random.Random(6)
    rows = [chance.randbytes(1_000) for _ in range(200)]
    assert zlib.decompress(base64.b64decode(cells.compressed(rows))) == b"".join(rows)


def test_rows_equal_those_of_a_day_by_day_reading() -> None:
    """Sets of days of any length and place, spread over half bytes as a loop does it."""
    chance = random.Random(5)
    states = ("final", True, ""), ("provisional", False, ""), ("missing", None, "failed")
    numbers = 1, 4, 10
    for _ in range(60):
        begin = calendar.FIRST_DAY + chance.randrange(50)
        columns = range(begin, begin + chance.randrange(1, 90))
        free, found = calendar.day_range(begin, columns.stop - 1), []
        expected: dict[Day, int] = {}
        for number, (state, has_rows, reason) in zip(numbers, states, strict=True):
            days = free & chance.getrandbits(160)
            free &= ~days
            found.append(DaysInState(days, state, has_rows, reason))
            expected |= dict.fromkeys(each_day(days), number)
        row = cells.row(found, Grain.DAY, columns)
        assert len(row) == (len(columns) + 1) // 2
        for at, day in enumerate(columns):
            half = row[at // 2] >> 4 * (at % 2) & 15
            assert half == expected.get(day, 0)


@pytest.mark.parametrize(
    ("grain", "first", "length"),
    [(Grain.DAY, "2026-03-04", 1), (Grain.WEEK, "2026-03-02", 7), (Grain.MONTH, "2026-02-01", 28)],
)
def test_a_period_is_on_each_of_its_days(grain: Grain, first: str, length: int) -> None:
    """So that the map of a dataset with one row per week or month has no holes."""
    begin = parse_day(first)
    whole = cells.whole_periods(calendar.one_day(begin), grain)
    assert whole == calendar.day_range(begin, begin + length - 1)


def test_every_wanted_day_has_one_state(lab: Troubles) -> None:
    """No day is in two, and none in no state."""
    manifest, now = lab.manifest(), lab.now()
    want = wanted_days.wanted(manifest, now)
    found = status.find(manifest, lab.tree, want, now)
    for dataset, of_dataset in found.want.items():
        for who, wanted in of_dataset.items():
            lacks = [x for x in found.missing.get(who, ()) if x.dataset == dataset]
            states = found.states[dataset][who]
            sets = [x.days for x in states.by_state(wanted, lacks, is_paused=who == PAUSED)]
            union: DaySet = 0
            for days in sets:
                assert not union & days
                union |= days
            assert union == wanted


def test_a_rejected_answer_counts_although_there_is_an_earlier_one(tmp_path: Path) -> None:
    """The earlier rows are there still, and a person has to see why the later answer is not."""
    broken = False

    def sometimes(dataset: str, who: str, day: Day) -> list[Row]:
        rows = expected_rows(dataset, who, day)
        is_odd = broken and day == parse_day("2026-03-02")
        return [{**row, "callback_count": "many"} for row in rows] if is_odd else rows

    lab = RunHarness(tmp_path, accounts=1, end="2026-03-03", datasets=(DAILY,), source=sometimes)
    lab.run()
    # The emulator answers a window that it had before as it did then.
    broken, lab.end = True, "2026-03-02"
    lab.run(refetch="all")
    lab.end = "2026-03-03"
    days = page_of(lab.manifest(), lab.tree, lab.now()).days(DAILY)
    assert days == {appid(1): {"2026-03-01": 1, "2026-03-02": 11, "2026-03-03": 1}}


def test_the_sentence_and_the_tables_say_what_status_says(lab: Troubles, page: Page) -> None:
    """The head of the page counts the states of accounts; items of attention stand below it."""
    head = page.texts["h1"]
    found = status.survey(lab.manifest(), lab.tree, lab.now())
    states = [account.state for account in found.accounts]
    counts = [states.count(x) for x in ("complete", "refused", "pending")]
    assert counts == [2, 2, 1]
    assert head.startswith(f"{END}: 2 of 6 accounts complete, 2 need a person, 1 late, ")
    assert head.endswith("0 backfilling, 1 paused; made 12:00 Beijing by harvester 0.1.0")
    rows = page.rows("attention")
    assert {row[2] for row in rows} == {f"Left Shop {REFUSED}", f"Odd Numbers {ODD}"}
    refused = next(row for row in rows if REFUSED in row[2])
    assert "refused by WeChat (40125" in refused[1]
    assert refused[0].endswith("(new)")
    assert "AppSecret" in refused[4]
    [run] = page.rows("runs")
    assert run[1:3] == ["run", "unfinished"]
    assert run[3] == "76"
    assert {row[0] for row in page.rows("sizes")} == {row[0] for row in page.rows("quota")}
    assert {row[0] for row in page.rows("sizes")} == {*BOTH}


def test_final_days_that_were_asked_again_are_summed_over_the_runs(tmp_path: Path) -> None:
    """By what they rest on, with those that had other rows; a client is not told of whole runs."""
    lab = RunHarness(tmp_path, accounts=1, end="2026-03-03", datasets=(DAILY,))
    counts: tuple[dict[str, int], ...] = (
        {"rows": 1_000, "rows_differing": 2},
        {"rows": 40, "stretch": 7},
        {},
    )
    for found in counts:
        record = as_record(lab.run())
        run_records.write(lab.tree, record["run_id"], {**record, "rechecked": found})
    told = "asked again by lot, with other rows: 2/1,040 rows, 0/7 stretch"
    place = lab.manifest(), lab.tree, lab.now()
    assert told in page_of(*place).everything()
    assert "by lot" not in page_of(*place, for_client=True).everything()


def test_expectations_are_listed_with_what_is_there_the_unmet_ones_first(lab: Troubles) -> None:
    """The share that is there is rounded down, so that it never says more than there is."""
    day = date(2026, 3, 7)
    judged = (
        Expectation(BOTH[0], "complete_by", day, 0.95, 1_000, 999, "open"),
        Expectation(BOTH[1], "min_share_with_rows", day, 0.5, 3, 1, "closed", (WELL,)),
    )
    page = page_of(lab.manifest(), lab.tree, lab.now(), expectations=judged)
    assert page.texts["h1"].endswith(" by harvester 0.1.0. Expectations not met: 1")
    assert page.rows("expectations") == [
        [BOTH[1], "with rows", "2026-03-07", "50%", "1 of 3 accounts (33.3%)", "no"],
        [BOTH[0], "complete", "2026-03-07", "95%", "999 of 1,000 accounts (99.9%)", "yes"],
    ]


def test_a_trouble_of_whole_runs_is_not_for_a_client(lab: Troubles) -> None:
    """A page of selected datasets leaves out troubles of the others. The page of all has each.

    An unmet expectation that more than 200 accounts lack names none of them, and not all are late.
    """
    items = (
        Attention("store", "store", "advice of a store", since="2026-03-01T04:00:00Z", new=False),
        Attention("empty_everywhere/user_summary", "empty_everywhere", "x", (), ("user_summary",)),
        Attention("expectation/x/complete_by", "planted <b>", "y", (), (DAILY,), since="soon"),
    )
    page = page_of(lab.manifest(), lab.tree, lab.now(), attention=items)
    planted, store = page.rows("attention")
    assert store == [
        *("2026-03-01 12:00", "the output is away", "all accounts", "", "advice of a store")
    ]
    assert planted == ["soon (new)", "planted <b>", "", DAILY, "y"]
    client = page_of(lab.manifest(), lab.tree, lab.now(), attention=items, for_client=True)
    assert client.rows("attention") == [planted[:4]]


def test_a_gap_has_its_reason_its_code_and_its_next_time(lab: Troubles, page: Page) -> None:
    """The stretches of days that a run gave up, with what the code means and what to do."""
    found = page.facts
    accounts = [account["appid"] for account in found["accounts"]]
    datasets = [dataset["name"] for dataset in found["datasets"]]
    causes = {
        (datasets[place], accounts[who], reason): (first, last, code, at, found["texts"][text])
        for place, who, first, last, reason, code, at, text in sorted(found["causes"], key=str)
    }
    *_, code, at, text = causes[BOTH[1], SPENT, "quota"]
    assert (code, at) == (45009, "2026-03-08T16:05:00Z")
    assert causes[BOTH[0], REFUSED, "refused"][:4] == (0, 6, 40125, None)
    assert "AppSecret" in causes[BOTH[0], REFUSED, "refused"][4]
    assert causes[DAILY, ODD, "quarantined"][:4] == (2, 2, None, None)
    assert "callback_count" in causes[DAILY, ODD, "quarantined"][4]
    assert found["command"] == "harvester run jobs.yaml"
    assert (found["begin"], found["columns"]) == ("2026-03-01", 7)
    assert text.startswith("the daily quota of this API is spent")


def _only(manifest: Manifest, kept: Callable[[str], bool]) -> Manifest:
    accounts = tuple(account for account in manifest.accounts if kept(account.appid))
    [job] = manifest.jobs
    job = replace(job, appids=tuple(filter(kept, job.appids)))
    return replace(manifest, accounts=accounts, jobs=(job,))


def test_what_is_not_selected_is_in_no_byte_of_the_page(lab: Troubles) -> None:
    """No name, tag, attribute or appid of another account, nor a trouble of one, nor its days."""
    manifest = _only(lab.manifest(), lambda who: who in {WELL, EMPTY})
    text = page_of(manifest, lab.tree, lab.now()).everything()
    for who, name in zip((SPENT, REFUSED, ODD, PAUSED), NAMES[1:5], strict=True):
        assert who not in text
        assert name not in text
    for canary in ("40125", "45009", "callback_count", "no secret yet", "AppSecret"):
        assert canary not in text
    job = replace(manifest.jobs[0], datasets=(BOTH[1],))
    alone = page_of(replace(manifest, jobs=(job,)), lab.tree, lab.now()).everything()
    assert f'"{DAILY}"' not in alone
    assert f">{DAILY}<" not in alone


def test_a_client_gets_no_command_no_remedy_no_run_no_quota(lab: Troubles) -> None:
    """Only states, reasons and codes are for a client."""
    page = page_of(lab.manifest(), lab.tree, lab.now(), for_client=True)
    text = page.everything()
    assert re.findall(r'<section id="(\w+)"', page.source) == ["attention", "expectations", "map"]
    assert page.facts["command"] == ""
    assert [len(row) for row in page.rows("attention")] == [4, 4]
    for canary in (
        *("harvester run", "--refetch", "jobs.yaml", str(lab.root), "_harvester", "127.0.0.1"),
        *("callback_count", "many", "Compare the", "http://", "rid:", "no secret yet"),
    ):
        words = re.sub(r"sha256-[\w+/=]+", "", text)
        assert canary not in words, canary


def test_a_paused_account_has_its_reason_and_since_when(lab: Troubles) -> None:
    """Not for a client, because it is a note of the house."""
    found = status.find(
        lab.manifest(), lab.tree, wanted_days.wanted(lab.manifest(), lab.now()), lab.now()
    )
    dated = [replace(each, paused_since="2026-03-01") for each in found.accounts]
    for accounts, told in (
        (found.accounts, "no secret yet"),
        (dated, "no secret yet (since 2026-03-01)"),
    ):
        page = page_of(lab.manifest(), lab.tree, lab.now(), accounts=accounts)
        reasons = {each["appid"]: each["paused"] for each in page.facts["accounts"]}
        assert reasons == {**dict.fromkeys(lab.appids, ""), PAUSED: told}
    client = page_of(lab.manifest(), lab.tree, lab.now(), for_client=True)
    assert "no secret yet" not in client.everything()


def test_foreign_texts_are_text(tmp_path: Path) -> None:
    """Names, tags, attributes and WeChat's words open no element and set no attribute."""
    lab = RunHarness(tmp_path, accounts=2, end="2026-03-02", datasets=(DAILY,))
    lab.sandbox.fail(appid(1), 48001)
    lab.run()
    manifest = lab.manifest()
    first, second = manifest.accounts
    for text in HOSTILE:
        key = re.sub("[=,]", "", text)
        tagged = replace(first, name=text, tags=frozenset({text}), attributes={key: text})
        hostile = replace(manifest, accounts=(tagged, second))
        page = page_of(hostile, lab.tree, lab.now(), command=f"harvester run {text}")
        assert {tag for tag, _ in page.elements} <= ELEMENTS
        assert {name for _, given in page.elements for name in given} <= ATTRIBUTES
        assert page.comments == []
        [known] = [each for each in page.facts["accounts"] if each["appid"] == appid(1)]
        assert (known["name"], known["tags"]) == (text, [text])
        assert known["attributes"] == dict(tagged.attributes)
        [row] = page.rows("attention")
        # A parser reads each line break as one, as a browser does.
        assert row[2].split() == [*text.split(), appid(1)]
        inert = page.source.partition('id="facts">')[2].partition("</script>")[0]
        assert not {*"<>&\u2028\u2029"} & {*inert}


def test_a_record_that_was_planted_cannot_act_either(tmp_path: Path) -> None:
    """The verb, the outcome and the reasons of a run are texts of a file."""
    lab = RunHarness(tmp_path, accounts=1, end="2026-03-02", datasets=(DAILY,))
    lab.run()
    [path] = (tmp_path / "_harvester/runs").glob("*.json")
    record = json.loads(path.read_bytes())
    evil = "<img src=x onerror=alert(1)>"
    record |= {"verb": evil, "outcome": evil, "reasons": [evil]}
    path.write_text(json.dumps(record))
    page = page_of(lab.manifest(), lab.tree, lab.now())
    [row] = page.rows("runs")
    assert [row[1], row[2], row[4]] == [evil] * 3
    assert {tag for tag, _ in page.elements} <= ELEMENTS


def test_the_policy_allows_the_pages_own_script_and_style_alone(page: Page) -> None:
    """Their digests are right, nothing else may be loaded, and no element has a handler."""
    [policy] = [given["content"] for _, given in page.elements if "http-equiv" in given]
    assert policy is not None
    script = page.source.rpartition("<script>")[2].partition("</script>")[0]
    style = page.source.partition("<style>")[2].partition("</style>")[0]
    digests = {
        name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in (("script-src", script), ("style-src", style))
    }
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{digests['script-src']}'; "
        f"style-src 'sha256-{digests['style-src']}'; base-uri 'none'; form-action 'none'"
    )
    assert {name for _, given in page.elements for name in given} <= ATTRIBUTES
    assert page.elements[0] == ("html", {"lang": "en"})
    assert ("meta", {"name": "referrer", "content": "no-referrer"}) in page.elements
    assert page.texts["title"] == page.texts["h1"]


def test_the_page_has_its_parts_in_the_order_of_their_weight(page: Page) -> None:
    """The sentence first, then what needs a person; data and script come last."""
    order = re.findall(r'<h1>|<section id="(\w+)"|<script[^>]*id="([\w-]+)"', page.source)
    assert [a or b for a, b in order] == [
        *("", "attention", "expectations", "map", "runs", "quota", "sizes"),
        *("facts", "days-0", "days-1"),
    ]


def test_both_languages_have_the_same_words_with_the_same_values() -> None:
    """And each word that the tables ask for is there."""
    english, chinese = languages.words("en"), languages.words("zh")
    assert english.keys() == chinese.keys()

    def values(text: str) -> set[str | None]:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None}

    for key, text in english.items():
        assert values(text) == values(chinese[key]), key
        assert text.strip()
        assert chinese[key].strip()
    source = Path(tables.__file__).read_text("utf-8")
    heads = re.findall(r'_table\(view, "\w+", "([\w ]+)"|heads = "([\w ]+)"', source)
    named = {word for pair in heads for words in pair for word in words.split()}
    named |= {*re.findall(r'words\["([\w.]+)"\]', source)}
    assert len(named) > 25
    assert named <= english.keys()


def test_the_chinese_page_has_the_terms_of_the_reports(lab: Troubles) -> None:
    """Its headings, heads, sentences and remedies; names of datasets stay as they are."""
    page = page_of(lab.manifest(), lab.tree, lab.now(), lang="zh")
    assert page.elements[0] == ("html", {"lang": "zh"})
    assert page.facts["lang"] == "zh"
    assert "6 个账号中 2 个完整，2 个需人工处理，1 个延迟" in page.texts["h1"]
    assert page.sections["attention"].startswith("需人工处理")
    assert page.sections["runs"].startswith("最近的采集任务")
    assert [row for row in page.rows("attention") if "被微信拒绝（40125：" in row[1]]
    for row in page.rows("attention"):
        assert re.search("[\u4e00-\u9fff]。", row[4]), row
    assert page.facts["texts"]
    for text in page.facts["texts"]:
        assert not re.search("[\u4e00-\u9fff][.,] ", text), text
    [run] = page.rows("runs")
    assert run[2] == "未完成"
    assert "接口调用额度已用完" in run[4]


def test_each_reason_of_a_run_has_a_word() -> None:
    """Those of the table of exit codes; in English they are the words of the record."""
    words = languages.words("zh")
    # The table of the codes has them in its last column, that of `retry_at` in its first.
    rows = re.findall(r"^\|.*\|$", EXIT_CODES.read_text(), flags=re.MULTILINE)
    cells = [row.split("|") for row in rows]
    told = [cell[4 if cell[1].strip().isdigit() else 1] for cell in cells if len(cell) in (5, 6)]
    reasons = {word for cell in told for word in re.findall(r"`([a-z_]+)`", cell)}
    assert len(reasons) > 15
    assert {f"reason.{word}" for word in reasons} <= words.keys()


def test_long_lists_are_cut_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell names the first accounts, and says how many more there are."""
    monkeypatch.setattr(tables, "MAX_NAMES", 2)
    lab = RunHarness(tmp_path, accounts=5, end="2026-03-02", datasets=(DAILY,))
    for who in lab.appids:
        lab.sandbox.fail(who, 48001)
    lab.run()
    [row] = page_of(lab.manifest(), lab.tree, lab.now()).rows("attention")
    assert row[2].split() == [appid(1), appid(2), "and", "3", "more"]


def test_an_output_without_wanted_days_has_a_page(tmp_path: Path) -> None:
    """It says that no day is wanted."""
    lab = RunHarness(tmp_path, accounts=1, begin="2026-05-19", today="2026-05-20", end=None)
    lab.minute = 60
    page = page_of(lab.manifest(), lab.tree, lab.now())
    assert page.texts["h1"].startswith("No day is wanted so far; made 01:00")
    assert page.facts["columns"] == 0
    assert page.facts["accounts"] == []


def test_the_causes_of_the_page_are_bounded(lab: Troubles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each day keeps its state."""
    monkeypatch.setattr(facts, "MAX_CAUSES", 2)
    page = page_of(lab.manifest(), lab.tree, lab.now())
    assert len(page.facts["causes"]) == 2
    assert set(page.days(BOTH[1])[SPENT].values()) == {7}


def test_the_words_are_data_of_the_package() -> None:
    """The page's files are in the wheel, beside the code."""
    for place in ("verbs.page/page.js", "verbs.page/page.css", "catalogue/texts.json"):
        package, _, name = place.partition("/")
        assert resources.files(f"harvester.{package}").joinpath(name).is_file()


@pytest.mark.long
@pytest.mark.parametrize(("kind", "most"), [("random", 900), ("life", 70)])
def test_a_page_is_small(tmp_path: Path, kind: str, most: int) -> None:
    """Half a byte a day before it is deflated: a decade of an account is less than a kilobyte.

    benchmarks/report.py measures ten thousand accounts.
    """
    begin, end = parse_day("2016-03-01"), parse_day("2026-03-01")
    broad = Broad(tuple(map(appid, range(1, 41))), (DAILY,), begin, end)
    pictured_tree.main(broad, tmp_path, kind)
    lab = RunHarness(tmp_path, accounts=40, begin="2016-03-01", end="2026-03-01", datasets=(DAILY,))
    page = page_of(lab.manifest(), lab.tree, lab.now())
    assert page.facts["columns"] == end - begin + 1
    assert len(page.scripts["days-0"]) / 40 < most
    assert len(page.scripts["facts"]) / 40 < 400
