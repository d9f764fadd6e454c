from __future__ import annotations

from collections.abc import Callable

import pytest

from harvester.core.config import parsers
from harvester.core.errors import InvalidValue


@pytest.mark.parametrize(
    ("parse", "text", "what"),
    [
        (parsers.duration, "0s", "must be longer than nothing"),
        (parsers.duration, "25h", "must be at most 24h"),
        (parsers.memory, "191MiB", "must be at least 192MiB"),
        (parsers.memory, "512M", "is not a size"),
        (parsers.endpoint, "sandbox", "is not an address"),
        (parsers.proxy, "http://proxy:0", "is not an address"),
        (parsers.proxy, "http://proxy:65536", "is not an address"),
        (parsers.token_url, "https://tokens.test/é/{appid}", "is not an address"),
    ],
)
def test_a_value_beyond_its_bounds_is_refused(
    parse: Callable[[str], object], text: str, what: str
) -> None:
    """The message continues a sentence that begins with the key, and does not repeat the value."""
    with pytest.raises(InvalidValue, match=f"^{what}$"):
        parse(text)


def test_the_hint_of_an_endpoint_names_no_sandbox() -> None:
    """Only WeChat's address may be the emulator."""
    for text in ("sandbox", "minio.internal", "https://me:x@minio.internal"):
        with pytest.raises(InvalidValue) as caught:
            parsers.endpoint(text)
        assert "sandbox" not in caught.value.hint


def test_a_size_is_in_units_of_1024() -> None:
    """As a control group counts."""
    assert parsers.memory("192MiB") == 192 * 1024**2
    assert parsers.memory("2GiB") == 2 * 1024**3
