from __future__ import annotations

import pytest

from harvester.core.calendar import month_text, parse_month


@pytest.mark.parametrize("text", ["", "2026-1", "2026/01", "2026-001", "2026-13", "2026-1x"])
def test_what_is_no_month_is_refused(text: str) -> None:
    """A folder of such a name is no month of ours."""
    with pytest.raises(ValueError, match=r"not a day|month must be|Invalid isoformat"):
        parse_month(text)


def test_a_month_is_read_as_it_is_written() -> None:
    """From the first month of the statistics on."""
    for text in ("2014-12", "2026-01", "2026-12"):
        assert month_text(parse_month(text)) == text
