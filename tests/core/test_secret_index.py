"""Pieces of secrets in texts: which are found, which stay readable, and what the index weighs."""

from __future__ import annotations

import random
import string
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.text.secret_index import PIECE, SecretIndex, united
from tests.support.run_harness import appid

TOKEN_LETTERS = string.ascii_lowercase + string.digits + "-_"


def index_of(*values: bytes) -> SecretIndex:
    """An index of these values."""
    index = SecretIndex()
    for value in values:
        index.add(value)
    return index


def tokens(count: int, lengths: Sequence[int] = range(136, 513)) -> list[bytes]:
    """Random tokens in lower case that begin alike, as WeChat's do."""
    rng = random.Random(count)
    letters = [rng.choices(TOKEN_LETTERS, k=rng.choice(lengths) - 3) for _ in range(count)]
    return [f"97_{''.join(text)}".encode() for text in letters]


def missed(index: SecretIndex, value: bytes) -> list[bytes]:
    """The pieces of the least length of a value that are not found as a whole in a text."""
    pieces = [value[at : at + PIECE] for at in range(len(value) - PIECE + 1)]
    return [piece for piece in pieces if index.find(b"(%b)" % piece) != [(1, 1 + PIECE)]]


def test_every_piece_of_twelve_characters_is_found() -> None:
    """Wherever it begins, and in all of a thousand tokens."""
    values = tokens(1000)
    index = index_of(*values)
    assert not [piece for value in values[::10] for piece in missed(index, value)]


def test_pieces_of_values_with_common_parts_are_found() -> None:
    """Serial tokens that share their middle and their end, at the same place and at others."""
    rng = random.Random(1)
    values = [
        b"%d%b-shop-%b-of-a-long-common-end" % (n, b"x" * rng.randrange(9), appid(n).encode())
        for n in range(10_000)
    ]
    index = index_of(*values)
    for value in values[::400]:
        assert not missed(index, value)
        assert index.find(b"a " + value + b" b") == [(2, 2 + len(value))]


@given(st.lists(st.text("ab", min_size=PIECE, max_size=60), min_size=1, max_size=2), st.data())
def test_pieces_of_repetitive_values_are_found(values: list[str], data: st.DataObject) -> None:
    """A value of two letters has the same blocks at many places."""
    index = index_of(*(value.encode() for value in values))
    value = data.draw(st.sampled_from(values))
    at = data.draw(st.integers(0, len(value) - PIECE))
    size = data.draw(st.integers(PIECE, len(value) - at))
    [(begin, end)] = index.find(f"<{value[at : at + size]}>".encode())
    assert (begin, end) == (1, 1 + size)


def test_shorter_pieces_stay_readable() -> None:
    """Eleven characters are no usable part, and masking them would mask words."""
    [value] = tokens(1)
    index = index_of(value)
    pieces = (value[at : at + PIECE - 1] for at in range(0, len(value) - PIECE, 5))
    assert not any(index.find(b" %b " % piece) for piece in pieces)


def test_a_short_value_is_found_as_a_whole_alone() -> None:
    """Eight to eleven characters; fewer are no secret."""
    index = index_of(b"hunter-22", b"hunter-2233", b"words")
    assert index.find(b"is hunter-22, or hunter-2233.") == [(3, 12), (17, 28)]
    assert not index.find(b"hunter-2 words unter-2233")


def test_pieces_that_touch_or_overlap_are_one() -> None:
    """So that nothing of the second is left."""
    assert united([(5, 9), (0, 3), (3, 4), (8, 12), (20, 21)]) == [(0, 4), (5, 12), (20, 21)]
    index = index_of(b"0123456789abcdef", b"9abcdefghijklmno")
    assert index.find(b"<0123456789abcdefghijklmno>") == [(1, 26)]


# Words that stay readable

WORDS = [b"interface_summary_hour", b"int_page_from_kanyikan_read_user", b"api.weixin.qq.com"]


@pytest.mark.parametrize("word", [*WORDS, appid(7).encode()])
def test_public_words_stay_readable_though_a_secret_has_them(word: bytes) -> None:
    """Appids, and the names of datasets, columns and hosts; the rest of the secret is masked."""
    value = b"/%b?key=q8w7e6r5t4z3u2i1" % word
    index = index_of(value)
    index.permit(WORDS)
    for text in (word, b"/" + word, b"at /%b?" % word, b"output/%b/ref" % word):
        assert not index.find(text), text
    assert index.find(b"at " + value) == [(3, 3 + len(value))]
    assert index.find(value[-16:]) == [(0, 16)]
    assert index.find(value[1:]) == [(0, len(value) - 1)]


def test_a_beginning_that_three_secrets_share_is_public() -> None:
    """As that of all refresh tokens; from its end on every character counts."""
    values = [b"refreshtoken@@@%b" % token[3:50] for token in tokens(3)]
    index = index_of(*values[:2])
    assert index.find(b"refreshtoken@@@") == [(0, 15)]
    index.add(values[2])
    assert not index.find(b"a refreshtoken@@@ of 43 characters")
    for value in values:
        assert index.find(value) == [(0, len(value))]
        assert index.find(value[:20]) == [(0, 20)]
        assert index.find(value[15:27]) == [(0, 12)]


def test_a_secret_that_others_continue_is_no_public_beginning() -> None:
    """The end of a value is never public, whichever of them is added first."""
    value = b"s3cr3t-of-the-first"
    for values in ([value, value + b"-a", value + b"-b"], [value + b"-a", value + b"-b", value]):
        assert index_of(*values).find(b"x %b y" % value) == [(2, 2 + len(value))]


# Size

MIB = 2**20


@pytest.mark.parametrize(
    ("count", "most"),
    [(1000, 2.5), pytest.param(10_000, 25.0, marks=pytest.mark.slow)],
)
def test_the_index_of_many_tokens_takes_little_memory(count: int, most: float) -> None:
    """At most 25 MiB for ten thousand, while they are added too, and each is found."""
    values = tokens(count)
    tracemalloc.start()
    try:
        index = index_of(*values)
        assert index.find(values[0]) == [(0, len(values[0]))]
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(map(len, values)) < now < most * MIB
    assert peak < most * MIB
    assert all(index.find(value[40:60]) == [(0, 20)] for value in values)


def test_a_value_that_comes_three_times_is_one_secret() -> None:
    """Many accounts may have the same key, whose beginning is not public for that."""
    value = b"the-same-key-for-all-the-accounts"
    assert index_of(value, value, value).find(value[:15]) == [(0, 15)]
