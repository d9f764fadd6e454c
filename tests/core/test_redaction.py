from __future__ import annotations

import base64
import gc
import html
import json
import random
import string
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import TypeVar
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.core.secret import Secret
from harvester.core.text import redaction
from harvester.core.text.escapes import layers
from harvester.core.text.redaction import masked, redacted
from harvester.core.text.safe_text import safe_text
from harvester.core.text.secret_index import SHORTEST
from tests.support.doc_pages import ROOT
from tests.support.nights import by_night
from tests.support.secret_canary import no_secrets

T = TypeVar("T")

VALUE = 'k7+pq/z=x&9%v"\\é'


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
    assert redacted("secret: 5ec2e7 and token:abc") == "secret: *** and token:***"
    assert redacted("ticket: abc.def.ghi") == "ticket: ***"
    assert masked('credential: {secret: "${NAME}"}') == 'credential: {secret: "${NAME}"}'


@pytest.mark.parametrize(
    "line",
    [
        "the account gave no token: the command `sh` ended with exit code 1",
        "no ticket: none was sent.",
        "gave no token: a command printed nothing",
        "WeChat refused the secret: invalid",
    ],
)
def test_a_sentence_that_goes_on_behind_such_a_name_stays_readable(line: str) -> None:
    """A word of a sentence is no secret."""
    assert redacted(line) == line


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


def test_ten_thousand_values_with_one_prefix_are_masked_quickly() -> None:
    """All refresh tokens begin alike; registering and masking them stays fast."""
    values = [f"refreshtoken@@@{number:08d}+/=" for number in range(10_000)]
    for value in values:
        Secret(value)
    assert masked(" ".join(values[::1000])) == " ".join(["***"] * 10)
    assert masked("refreshtoken@@@00009999+/") == "***"
    assert masked("refreshtoken") == "refreshtoken"


# Forms

TOKEN = "97_Zk3vQxT8-bW7_NfYh2LsRc9JmPd5GaEu0i"


def escaped(write: str) -> Callable[[str], str]:
    """A function that writes every character of a text by its code."""
    return lambda text: "".join(write.format(ord(letter)) for letter in text)


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in capitals": str.upper,
    "in small letters": str.lower,
    "url-encoded": escaped("%{:02x}"),
    "url-encoded in capitals": escaped("%{:02X}"),
    "url-encoded twice": escaped("%25{:02x}"),
    "json": escaped("\\u{:04x}"),
    "json in capitals": escaped("\\u{:04X}"),
    "json in json": escaped("\\\\u{:04x}"),
    "python": escaped("\\x{:02x}"),
    "html": escaped("&#{};"),
    "html in hex": escaped("&#x{:x};"),
    "every second character": lambda text: "".join(
        letter if at % 2 else f"\\u{ord(letter):04x}" for at, letter in enumerate(text)
    ),
}
"""Ways to write a text that do not hide it from a program that reads it."""


@pytest.mark.parametrize("write", FORMS.values(), ids=FORMS)
def test_any_twenty_characters_are_masked_in_every_form(write: Callable[[str], str]) -> None:
    """With the head cut, the tail cut, or both, between other characters."""
    Secret(TOKEN)
    for begin in range(len(TOKEN) - 19):
        for end in (begin + 20, len(TOKEN)):
            assert masked(f'a {write(TOKEN[begin:end])}" z') == 'a ***" z', (begin, end)


@pytest.mark.parametrize(
    "write",
    [
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: text[::-1],
        lambda text: " ".join(text[at : at + 19] for at in range(0, len(text), 19)),
    ],
    ids=["base64", "reversed", "split"],
)
def test_forms_that_are_not_promised(write: Callable[[str], str]) -> None:
    """The page of credentials names them: a server that hides a secret on purpose is not found."""
    Secret(TOKEN)
    assert masked(write(TOKEN)) == write(TOKEN)


SECRET_IN_CHINESE = "\u79d8\u5bc6\u79d8\u5bc6\u7684\u94a5\u5319\u957f"


def test_half_a_character_is_never_left() -> None:
    """Of a secret in Chinese a part is masked as whole characters."""
    Secret(SECRET_IN_CHINESE)
    for text in (SECRET_IN_CHINESE[:7], SECRET_IN_CHINESE[1:]):
        assert masked(f"<{text}>") == "<***>"
    assert masked("\u5bc6\u7684 \ud800 \U0001f600") == "\u5bc6\u7684 \ud800 \U0001f600"


def test_a_secret_is_found_anywhere_in_a_long_text() -> None:
    """Texts are searched in parts, and a secret may lie across two of them."""
    Secret(TOKEN)
    for size in range(65_400, 65_560, 7):
        assert masked("x " * (size // 2) + TOKEN + " y") == "x " * (size // 2) + "*** y"
        text = "\\n " * 20_000 + "z" * (size - 60_000) + " " + quote(TOKEN, safe="")
        assert masked(text).endswith("z ***")


def test_the_host_of_a_secret_address_stays_readable() -> None:
    """The rest of an address from a variable is secret."""
    Secret("https://tokens.internal.example/v1/k3y-0f-th3-s3rv3r")
    assert masked("see https://tokens.internal.example/docs") == (
        "see https://tokens.internal.example/docs"
    )
    assert masked("tokens.internal.example: no answer") == "tokens.internal.example: no answer"
    assert masked("GET /v1/k3y-0f-th3-s3rv3r") == "GET ***"


# Ordinary output


def ordinary_lines() -> Iterator[str]:
    """Docs, source with all messages, and a hundred thousand lines of names and numbers."""
    for pattern in ("*.md", "docs/**/*.md", "harvester/**/*.py"):
        for page in sorted(ROOT.glob(pattern)):
            yield from page.read_text("utf-8").splitlines()
    rng = random.Random(5)
    names = [(name, column.name) for name in CATALOGUE for column in CATALOGUE[name].columns]
    for number in range(75_000):
        dataset, column = names[number % len(names)]
        msgid, rid = rng.randrange(10**31, 10**32), rng.randrange(2**64)
        yield (
            f"2026-05-20T12:00:00Z INFO wx{number:016x} {dataset} {column}: {msgid} "
            f"rid: {rid >> 32:08x}-{rid & 0xFFFFFFFF:08x} https://api.weixin.qq.com/datacube"
        )


@pytest.mark.parametrize("share", [10, *by_night([1])])
def test_ordinary_output_has_no_mask(share: int) -> None:
    """A hundred thousand lines, while ten thousand accounts' secrets are known, or a tenth."""
    rng = random.Random(6)
    letters = string.ascii_letters + string.digits + "-_"
    name = "interface_summary"
    for number in range(10_000 // share):
        Secret(f"97_{''.join(rng.choices(letters, k=154))}")
        Secret(f"{rng.randrange(2**128):032x}")
        Secret(f"refreshtoken@@@{''.join(rng.choices(letters, k=43))}")
        Secret(f"https://tokens.internal/wx{rng.randrange(2**64):016x}/{name}?key={number}")
    lines = [*ordinary_lines()]
    assert len(lines) > 100_000
    assert not [line for line in lines[::share] if masked(line) != line]


# The record of a run


def in_a_run(function: Callable[[], T]) -> T:
    """Call a function in a run of its own."""

    def run() -> T:
        with no_secrets():
            redaction.start_record()
            return function()

    return copy_context().run(run)


def test_two_runs_in_one_process_do_not_share_their_secrets() -> None:
    """Each masks its own; a text that belongs to no run is searched for those of both."""

    def first() -> None:
        Secret("first-of-the-secrets")

        def second() -> str:
            Secret("another-one-of-two")
            text = "first-of-the-secrets another-one-of-two"
            assert redaction.in_no_run(masked, text) == "*** ***"
            return masked("first-of-the-secrets another-one-of-two")

        assert in_a_run(second) == "first-of-the-secrets ***"
        assert masked("first-of-the-secrets another-one-of-two") == "*** another-one-of-two"

    in_a_run(first)


@pytest.mark.long
def test_secrets_leave_memory_with_their_run() -> None:
    """No object that is left holds the value, not even in part."""

    def run() -> None:
        value = "".join(random.Random(7).choices(string.ascii_lowercase, k=60))
        Secret(value)
        assert masked(f"x {value} y") == "x *** y"

    in_a_run(run)
    gc.collect()
    start = "".join(random.Random(7).choices(string.ascii_lowercase, k=60))[:20].encode()
    held = (item for one in gc.get_objects() for item in gc.get_referents(one))
    texts = (
        (item.encode(errors="replace") if isinstance(item, str) else item)
        for item in held
        if isinstance(item, str | bytes | bytearray) and item is not start
    )
    assert not [text for text in texts if start in text]


def test_a_thread_of_no_run_masks_the_secrets_of_all() -> None:
    """A thread that a library starts knows no run, and its errors are printed all the same."""
    Secret(TOKEN)
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(masked(TOKEN)))
    thread.start()
    thread.join()
    assert said == ["***"]


def test_threads_of_a_run_add_and_mask_at_the_same_time() -> None:
    """Each value is masked from the moment on at which its thread has made it a secret."""
    rng = random.Random(8)
    values = [f"{rng.randrange(2**128):032x}" for _ in range(4000)]

    def work(part: list[str]) -> list[str]:
        found = []
        for value in part:
            Secret(value)
            found.append(masked(f"{value} {value[9:29]}"))
        return found

    with ThreadPoolExecutor(8) as threads:
        parts = [values[at::8] for at in range(8)]
        done = [threads.submit(copy_context().run, work, part) for part in parts]
        assert {text for each in done for text in each.result()} == {"*** ***"}
    assert masked(" ".join(values)) == " ".join(["***"] * len(values))


def test_a_piece_that_begins_and_ends_within_characters_is_masked_with_them() -> None:
    """The characters beside it share a byte with the secret, and half a character is no text."""
    redaction.conceal("é" * 15)
    assert masked("x©" + "é" * 10 + "ãx") == "x***x"


def test_outside_of_a_run_nothing_is_kept() -> None:
    """Without a record a secret has no place."""
    Context().run(redaction.conceal, "a secret of no run at all")
    assert masked("a secret of no run at all") == "a secret of no run at all"


def test_escapes_are_undone_three_times() -> None:
    """A text that is escaped more often is searched in its four outer forms."""
    found = [layer.text for layer in layers(b"%2525252541")]
    assert found == [b"%2525252541", b"%25252541", b"%252541", b"%2541"]
