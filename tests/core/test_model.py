from __future__ import annotations

import pytest

from harvester.core.model import bucket_of

# Computed with sha256sum and bc: the first 16 hex digits of the digest, modulo 16, 7 and 1000.
PLACES = [
    ("wx0000000000000001", 4, 4, 100),
    ("wx0000000000000002", 0, 5, 544),
    ("wx00000000000000ff", 13, 6, 389),
    ("wx9c9faad5c6a200ed", 14, 2, 214),
    ("wxffffffffffffffff", 15, 0, 471),
]


@pytest.mark.parametrize(("appid", "of_16", "of_7", "of_1000"), PLACES)
def test_an_account_keeps_its_bucket(appid: str, of_16: int, of_7: int, of_1000: int) -> None:
    """Another number would look for the rows of every account in files of other accounts."""
    assert bucket_of(appid, 1) == 0
    assert (bucket_of(appid, 16), bucket_of(appid, 7), bucket_of(appid, 1000)) == (
        of_16,
        of_7,
        of_1000,
    )
