from __future__ import annotations

import html
import json
import string
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core import redaction
from harvester.core.redaction import SHORTEST, masked, redacted
from harvester.core.safe_text import safe_text
from harvester.core.secret import Secret

VALUE = 'k7+pq/z=x&9%v"\\é'


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the secrets that other tests registered."""
    monkeypatch.setattr(redaction, "_KNOWN", {})


@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        quote,
        lambda value: quote(value, safe=""),
        lambda value: quote(value, safe="").lower(),
        quote_plus,
        json.dumps,
        lambda value: json.dumps(value, ensure_ascii=False),
        html.escape,
        lambda value: repr({"body": [value]}),
        lambda value: f"POST /x?a={quote(value, safe='')}&b=1 HTTP/1.1",
    ],
)
def test_a_known_value_is_masked_however_it_is_written(write: Callable[[str], str]) -> None:
    """The forms of URL, JSON, HTML and Python are masked as a whole."""
    Secret(VALUE)
    text = masked(f"before {write(VALUE)} after")
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert "***" in text
    assert "k7" not in text
    assert "9" not in text


def test_of_two_values_in_one_place_the_longer_is_masked() -> None:
    """A secret that begins like another one leaves no tail."""
    Secret("abcdefgh")
    Secret("abcdefgh-and-more")
    assert masked("x abcdefgh-and-more y abcdefgh z") == "x *** y *** z"


def test_values_that_overlap_leave_nothing_between_them() -> None:
    """If one begins inside of another, both are masked."""
    Secret("0123456789")
    Secret("56789abcde")
    assert masked("<0123456789abcde>") == "<***>"


def test_bytes_lose_their_secrets_and_nothing_else() -> None:
    """Broken UTF-8 stays unchanged too."""
    Secret(VALUE)
    before, after = b"\xff\xfe {", b"}\x00\xe4"
    assert redaction.redacted_bytes(before + VALUE.encode() + after) == before + b"***" + after
    assert redaction.redacted_bytes(bytes(range(256))) == bytes(range(256))


def test_short_values_are_left_alone() -> None:
    """A value of a few letters would mask ordinary words."""
    Secret("sandbox")
    assert len("sandbox") < SHORTEST
    assert redacted("the sandbox") == "the sandbox"


def test_unregistered_values_named_like_secrets_are_masked() -> None:
    """`redacted` finds an unregistered token by its name; `masked` does not look for names."""
    assert redacted("?access_token=abc&x=1") == "?access_token=***&x=1"
    assert redacted('{"component_verify_ticket": "t@@1"}') == '{"component_verify_ticket": "***"}'
    assert masked('credential: {secret: "${NAME}"}') == 'credential: {secret: "${NAME}"}'


@given(
    st.lists(st.text(string.printable, min_size=SHORTEST, max_size=40), min_size=1, max_size=4),
    st.text(string.printable, max_size=30),
)
def test_no_known_value_survives(values: list[str], between: str) -> None:
    """No registered value is found in a masked text."""
    for value in values:
        Secret(value)
    text = masked(between.join(values) + between)
    # A mask in the middle of a text may complete a value that has asterisks itself.
    assert not [value for value in values if "*" not in value and value in text]


def test_a_value_is_masked_before_a_text_is_cut() -> None:
    """Truncation comes last, so that no part of a secret is left at the end."""
    Secret("s3cr3t-with-&-inside")
    for padding in range(280, 305):
        assert "s3cr" not in safe_text("." * padding + "s3cr3t-with-&-inside")
    for padding in range(4070, 4100):
        assert "s3cr" not in safe_text("." * padding + "s3cr3t-with-&-inside", 10_000)


@pytest.mark.timeout(30)
def test_ten_thousand_values_with_one_prefix_are_masked_quickly() -> None:
    """All refresh tokens begin alike; registering and masking them stays fast."""
    values = [f"refreshtoken@@@{number:08d}+/=" for number in range(10_000)]
    for value in values:
        Secret(value)
    assert masked(" ".join(values[::1000])) == " ".join(["***"] * 10)
    assert masked("refreshtoken@@@00009999+/") == "refreshtoken@@@00009999+/"
