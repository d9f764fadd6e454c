"""The files of the report's page: its script's size, its words, and the contrast of its colours."""

from __future__ import annotations

import re
from importlib import resources

from harvester.catalogue import languages

PAGE = resources.files("harvester.verbs.page")
SCRIPT = PAGE.joinpath("page.js").read_text("utf-8")
STYLE = PAGE.joinpath("page.css").read_text("utf-8")
WORDS = {"en": languages.words("en"), "zh": languages.words("zh")}

MAX_LINES = 600
COMMENT = re.compile(r"\s*(//.*|/?\*.*)?")
"""A line that is empty or has a comment alone."""

CHOSEN = {
    "account": ["complete", "pending", "backfilling", "refused", "paused"],
    "class": ["person", "itself", "change", "empty", "there", "paused"],
    "reason": ["empty", "not_asked", "not_ready", "quota", "deferred", "refused", "failed"],
    "state": ["unwanted", "final", "provisional", "missing", "quarantined", "paused"],
    "zoom": ["year", "month", "day"],
}
"""Keys that the script puts together."""

DIRECT = ("day", "days", "request", "requests", "fill", "fill.refused", "fill.quarantined")
"""Keys that it asks for otherwise."""


def test_script_is_small() -> None:
    """It is one file that a maintainer can read: counted without blank lines and comments."""
    lines = [line for line in SCRIPT.splitlines() if not COMMENT.fullmatch(line)]
    assert len(lines) <= MAX_LINES


def used() -> set[str]:
    """Return the keys of words that the script asks for."""
    plain = set(re.findall(r'\bt\("([a-z_.]+)"', SCRIPT)) | {*DIRECT}
    labels = set(re.findall(r'(?:labelled|menu)\("([a-z_]+)"', SCRIPT))
    made = {f"{kind}.{name}" for kind, names in CHOSEN.items() for name in names}
    return {f"js.{key}" for key in plain | labels | made}


def test_script_has_its_words_in_every_language() -> None:
    """None is missing and none is left over, and each takes the same values in all languages."""
    for words in WORDS.values():
        assert {key for key in words if key.startswith("js.")} == used()
        assert all(words.values())
    taken = [
        {key: sorted(re.findall(r"\{\w+\}", text)) for key, text in words.items()}
        for words in WORDS.values()
    ]
    assert taken[0] == taken[1]


def test_script_names_each_kind_of_word() -> None:
    """The table above is of kinds that it has."""
    for kind in CHOSEN:
        assert f"t(`{kind}.${{" in SCRIPT


def test_script_makes_no_markup() -> None:
    """No text becomes markup or code, and nothing is asked of a network."""
    for name in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "fetch(",
    ):
        assert name not in SCRIPT
    assert re.findall(r"https?:|//[a-z]+\.", SCRIPT) == []


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, by WCAG."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return sum(share * x for share, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, by WCAG."""
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_each_pattern_stands_out() -> None:
    """In light and dark: from its colour, and it or its colour from the page, by 3 to 1."""
    light, dark = re.findall(r":root\S* \{(.*?)\}", STYLE, re.DOTALL)
    for block in (light, dark):
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
        paper = colours["paper"]
        assert contrast(colours["there"], paper) >= 3
        for name in ("change", "empty", "itself", "person", "paused"):
            ink, fill = colours[f"{name}-ink"], colours[name]
            assert contrast(ink, fill) >= 3, name
            assert max(contrast(ink, paper), contrast(fill, paper)) >= 3, name
