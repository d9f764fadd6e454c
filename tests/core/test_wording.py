"""Messages: English texts that can be said in another language."""

from __future__ import annotations

import copy
import json
import pickle
from gettext import NullTranslations

import pytest

from harvester.core.text.wording import (
    ENGLISH,
    Message,
    and_more,
    counted,
    entry,
    one_or_many,
    render,
    said,
    word,
)

TEXTS = {
    "{days} of {accounts}": "{accounts}: {days}",
    "{count:,} day": "<{count:,} d>",
    "{count:,} account": "<{count:,} a>",
    ", ": "; ",
    "{items} and {count:,} more": "{items} (+{count:,})",
}


class Other(NullTranslations):
    """A language with another order of words."""

    def gettext(self, message: str) -> str:
        return TEXTS.get(message, message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        assert msgid2 == f"{msgid1}s"
        assert n >= 0
        return TEXTS.get(msgid1, msgid1)

    def pgettext(self, context: str, message: str) -> str:
        return f"{context}/{message}"


OTHER = Other()


def test_a_message_is_its_english_text() -> None:
    """Equal to it, also as a key, and so in JSON."""
    text = said("{days} of {accounts}", days=counted(1, "day"), accounts=counted(1200, "account"))
    assert text == "1 day of 1,200 accounts"
    assert {text} == {"1 day of 1,200 accounts"}
    assert json.loads(json.dumps([text])) == ["1 day of 1,200 accounts"]
    assert f"{text}" == str(text) == render(text, ENGLISH)


def test_values_are_said_in_the_same_language() -> None:
    """The template chooses their order; a list has the language's own mark between two."""
    text = said("{days} of {accounts}", days=counted(2, "day"), accounts=counted(1200, "account"))
    assert render(text, OTHER) == "<1,200 a>: <2 d>"
    names = [word("reason", "quota"), "wx1"]
    assert and_more(names, 5) == "quota, wx1 and 3 more"
    assert render(and_more(names, 5), OTHER) == "reason/quota; wx1 (+3)"
    assert render(and_more(names, 2), OTHER) == "reason/quota; wx1"
    assert render(entry("wx1", one_or_many(["a", "b"], "day")), OTHER) == "wx1: <2 d>"


@pytest.mark.parametrize("foreign", ["{count:,} day", "{0.__class__}", "{", "quota"])
def test_a_value_is_never_a_template(foreign: str) -> None:
    """A name that looks like one, or like a text of the catalogue, stays as it is."""
    text = said("{name}: {text}", name=foreign, text=counted(1, "day"))
    assert render(text, OTHER) == f"{foreign}: <1 d>"
    assert render(foreign, OTHER) == foreign


def test_a_text_without_values_may_have_braces() -> None:
    """It is no template."""
    assert said("set {x} to {}") == "set {x} to {}"


def test_a_message_is_still_one_after_a_process_or_a_copy() -> None:
    """Processes of a run send their facts to one another, and results are copied to be written."""
    text = said("{days} of {accounts}", days=counted(2, "day"), accounts="{wx}")
    for copied in (pickle.loads(pickle.dumps(text)), copy.deepcopy(text), copy.copy(text)):
        assert isinstance(copied, Message)
        assert copied == "2 days of {wx}"
        assert render(copied, OTHER) == "{wx}: <2 d>"
    assert said(text) is text
