"""The map of a report: its script in a browser. Chromium and the packages of npm must be there."""

from __future__ import annotations

from tests.sabotage.run import Sabotage

SCRIPT = "harvester/verbs/page/page.js"

OF_BROWSER = "tests/browser/test_page.py"
OF_WORST = f"{OF_BROWSER}::test_each_cell_is_the_worst_of_its_days"
OF_LEGEND = f"{OF_BROWSER}::test_legend_counts_what_is_selected"
OF_KEYS = f"{OF_BROWSER}::test_keyboard_reads_each_cell"
OF_DETAIL = f"{OF_BROWSER}::test_enter_opens_a_detail_and_escape_closes_it"
OF_CODES = f"{OF_BROWSER}::test_detail_tells_the_code_of_its_own_dataset"
OF_LINE = f"{OF_BROWSER}::test_press_gives_the_line_that_fills_a_gap"
OF_PERIODS = f"{OF_BROWSER}::test_weeks_and_months_are_asked_for_by_their_first_day"
OF_FILTERS = f"{OF_BROWSER}::test_filters_are_in_the_address_and_come_back"
OF_HOSTILE = f"{OF_BROWSER}::test_hostile_names_are_text"
OF_PAPER = f"{OF_BROWSER}::test_dark_differs_from_light_and_paper_is_light"
OF_AGE = f"{OF_BROWSER}::test_old_page_says_so"
OF_DAMAGE = f"{OF_BROWSER}::test_damaged_days_are_told"

SABOTAGES = (
    Sabotage(
        "map-shows-the-best-of-a-month",
        SCRIPT,
        "worst = Math.max(worst, CLASS_OF_PAIR[row[i]])",
        "worst = Math.min(worst, CLASS_OF_PAIR[row[i]])",
        OF_WORST,
    ),
    Sabotage(
        "map-shows-the-last-month-as-the-year",
        SCRIPT,
        "Math.max(years[yearOfMonth[month]], worst)",
        "worst",
        OF_WORST,
    ),
    Sabotage(
        "map-loses-the-first-day-of-a-month",
        SCRIPT,
        "let worst = begin & 1 ? CLASS_OF[row[begin >> 1] >> 4] : 0",
        "let worst = 0",
        OF_WORST,
    ),
    Sabotage(
        "map-of-all-datasets-shows-the-first",
        SCRIPT,
        "rank(a) < rank(b) ? b : a",
        "a",
        OF_WORST,
    ),
    Sabotage(
        "legend-counts-accounts-that-are-not-shown",
        SCRIPT,
        "view.rows.reduce((sum, account) =>",
        "[...accounts.keys()].reduce((sum, account) =>",
        OF_LEGEND,
    ),
    Sabotage("screen-reader-hears-no-move", SCRIPT, "status.textContent = cellText(", "(", OF_KEYS),
    Sabotage("escape-loses-the-focus", SCRIPT, "  canvas.focus();", "  canvas.blur();", OF_DETAIL),
    Sabotage(
        "code-of-another-dataset-told", SCRIPT, "dataset === run.dataset && who", "who", OF_CODES
    ),
    Sabotage(
        "line-does-not-ask-refused-days-again",
        SCRIPT,
        "${refetch && ` --refetch ${refetch}`}",
        "",
        OF_LINE,
    ),
    Sabotage("price-of-a-gap-too-low", SCRIPT, "column + span", "column + span + 1", OF_LINE),
    Sabotage("price-of-each-day-of-a-week", SCRIPT, "!weekdayOf(at)", "true", OF_PERIODS),
    Sabotage("week-without-its-first-day", SCRIPT, "begin - weekdayOf(begin)", "begin", OF_PERIODS),
    Sabotage("line-for-days-that-are-there", SCRIPT, ">= ITSELF", ">= 2", OF_LINE),
    Sabotage(
        "name-is-more-than-one-word-of-a-shell",
        SCRIPT,
        ": `'${word.replaceAll(\"'\", \"'\\\\''\")}'`",
        ": `'${word}'`",
        OF_HOSTILE,
    ),
    Sabotage(
        "appid-is-an-option",
        SCRIPT,
        'appid.startsWith("-") ? "=" : " "',
        'false ? "=" : " "',
        OF_HOSTILE,
    ),
    Sabotage(
        "name-is-markup",
        SCRIPT,
        'make("h3", { id: "map-detail-title" }, name || appid)',
        'make("h3", { id: "map-detail-title", innerHTML: name || appid })',
        OF_HOSTILE,
    ),
    Sabotage("filter-takes-any-tag", SCRIPT, "(!choice.tag ||", "(true ||", OF_FILTERS),
    Sabotage(
        "address-chooses-a-level-that-is-none",
        SCRIPT,
        "if (!LEVELS.includes(choice.zoom))",
        "if (false)",
        OF_FILTERS,
    ),
    Sabotage("paper-is-dark", SCRIPT, "isPrint === true", "false", OF_PAPER),
    Sabotage("old-page-says-nothing", SCRIPT, "if (age < 1)", "if (age < 30)", OF_AGE),
    Sabotage(
        "days-of-a-damaged-page-drawn",
        SCRIPT,
        "packed.length !== accounts.length * stride",
        "false",
        OF_DAMAGE,
    ),
)
