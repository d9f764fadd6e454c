"""Pieces of secrets in texts: which are found, which stay readable, and what the index weighs."""

from __future__ import annotations

import random
import string
import time
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.text.secret_index import PIECE, SecretIndex, Span, united
from tests.support.run_harness import appid

TOKEN_LETTERS = string.ascii_lowercase + string.digits + "-_"


def index_of(*values: str) -> SecretIndex:
    """An index of these values."""
    index = SecretIndex()
    for value in values:
        index.add(value.encode())
    return index


def find(index: SecretIndex, text: str) -> list[Span]:
    """The parts of an ASCII text that hold values."""
    return united(index.find(text.encode()))


def tokens(count: int, lengths: Sequence[int] = range(136, 513)) -> list[str]:
    """Random tokens in lower case that begin alike, as WeChat's do."""
    rng = random.Random(count)
    letters = [rng.choices(TOKEN_LETTERS, k=rng.choice(lengths) - 3) for _ in range(count)]
    return [f"97_{''.join(text)}" for text in letters]


def missed(index: SecretIndex, value: str) -> list[str]:
    """The pieces of the least length of a value that are not found as a whole in a text."""
    pieces = [value[at : at + PIECE] for at in range(len(value) - PIECE + 1)]
    return [piece for piece in pieces if find(index, f"({piece})") != [(1, 1 + PIECE)]]


def test_every_piece_of_twenty_characters_is_found() -> None:
    """Wherever it begins, and in all of a thousand tokens."""
    values = tokens(1000)
    index = index_of(*values)
    assert not [piece for value in values[::10] for piece in missed(index, value)]


def test_pieces_of_values_with_common_parts_are_found() -> None:
    """Serial tokens that share their middle and their end, at the same place and at others."""
    rng = random.Random(1)
    values = [
        f"{n}{'x' * rng.randrange(9)}-shop-{appid(n)}-of-a-long-common-end" for n in range(10_000)
    ]
    index = index_of(*values)
    for value in values[::400]:
        assert not missed(index, value)
        assert find(index, f"a {value} b") == [(2, 2 + len(value))]


@given(st.lists(st.text("ab", min_size=PIECE, max_size=60), min_size=1, max_size=2), st.data())
def test_pieces_of_repetitive_values_are_found(values: list[str], data: st.DataObject) -> None:
    """A value of two letters has the same blocks at many places."""
    index = index_of(*values)
    value = data.draw(st.sampled_from(values))
    at = data.draw(st.integers(0, len(value) - PIECE))
    size = data.draw(st.integers(PIECE, len(value) - at))
    assert find(index, f"<{value[at : at + size]}>") == [(1, 1 + size)]


@given(
    st.lists(st.text("abc", min_size=8, max_size=40), min_size=1, max_size=5),
    st.text("abc", max_size=80),
)
def test_exactly_the_values_and_their_pieces_are_found(values: list[str], text: str) -> None:
    """The parts are those that a search for each value and each of its pieces would find."""
    wanted = {
        value[at : at + PIECE] for value in values for at in range(max(1, len(value) - PIECE + 1))
    }
    spans = [
        (at, at + len(one)) for one in wanted for at in range(len(text)) if text.startswith(one, at)
    ]
    assert find(index_of(*values), text) == united(spans)


def test_shorter_pieces_stay_readable() -> None:
    """Nineteen characters are no usable part, and masking them would mask words and appids."""
    [value] = tokens(1)
    index = index_of(value)
    pieces = (value[at : at + PIECE - 1] for at in range(0, len(value) - PIECE, 5))
    assert not any(find(index, f" {piece} ") for piece in pieces)


def test_a_short_value_is_found_as_a_whole_alone() -> None:
    """Eight to nineteen characters; fewer are no secret."""
    index = index_of("hunter-22", "hunter-2233", "words")
    assert find(index, "is hunter-22, or hunter-2233.") == [(3, 12), (17, 28)]
    assert not find(index, "hunter-2 words unter-2233")


def test_pieces_that_touch_or_overlap_are_one() -> None:
    """So that nothing of the second is left."""
    assert united([(5, 9), (0, 3), (3, 4), (8, 12), (20, 21)]) == [(0, 4), (5, 12), (20, 21)]
    index = index_of("0123456789abcdef", "9abcdefghijklmno")
    assert find(index, "<0123456789abcdefghijklmno>") == [(1, 26)]


# Words that stay readable


@pytest.mark.parametrize("word", ["interface_summary", "api.weixin.qq.com", appid(7)])
def test_public_words_stay_readable_though_a_secret_has_them(word: str) -> None:
    """Appids, and the names of datasets and hosts; the secret is masked with them."""
    value = f"/{word}?key=q8w7e6r5t4z3u2i1"
    index = index_of(value)
    for text in (word, f"/{word}", f"at {word}: no", f"output/{word}/ref"):
        assert not find(index, text), text
    assert find(index, f"at {value}") == [(3, 3 + len(value))]
    assert find(index, value[-20:]) == [(0, 20)]
    assert find(index, value[1:]) == [(0, len(value) - 1)]


def test_the_beginning_of_all_refresh_tokens_stays_readable() -> None:
    """It is public; with a few characters of the secret it is masked."""
    values = [f"refreshtoken@@@{token[3:50]}" for token in tokens(3)]
    index = index_of(*values)
    assert not find(index, "a refreshtoken@@@ of 43 characters")
    for value in values:
        assert find(index, value) == [(0, len(value))]
        assert find(index, value[:20]) == [(0, 20)]
        assert find(index, value[15:35]) == [(0, 20)]


def test_a_secret_that_others_continue_is_found() -> None:
    """Whichever of them is added first."""
    value = "s3cr3t-of-the-first"
    for values in ([value, value + "-a", value + "-b"], [value + "-a", value + "-b", value]):
        assert find(index_of(*values), f"x {value} y") == [(2, 2 + len(value))]


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
        assert find(index, values[0]) == [(0, len(values[0]))]
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now < most * MIB
    assert peak < most * MIB
    assert all(find(index, value[40:60]) == [(0, 20)] for value in values)


def test_a_value_that_comes_again_takes_no_memory() -> None:
    """A secret that is read from its file each hour, and values with common parts."""
    values = [f"refreshtoken@@@{token[3:50]}-and-an-end-of-all" for token in tokens(300)]
    index = index_of(*values)
    tracemalloc.start()
    try:
        for value in values * 3:
            index.add(value.encode())
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now < 1024


def test_a_text_is_searched_as_fast_among_many_values_as_among_few() -> None:
    """The time of a search grows with the text and not with the number of values."""

    def seconds(index: SecretIndex, text: str) -> float:
        times = []
        for _ in range(20):
            begin = time.process_time()
            find(index, text)
            times.append(time.process_time() - begin)
        return min(times)

    def serial(count: int) -> list[str]:
        return [f"refreshtoken@@@{token[3:50]}-and-an-end-of-all" for token in tokens(count)]

    few, many = serial(10), serial(5000)
    text = " ".join((*few[:5], *["refreshtoken@@@ and words with -and-an-end-of-all"] * 200))
    assert seconds(index_of(*many), text) < 10 * seconds(index_of(*few), text)
