"""Expectation of rows, by what the files of a run's buckets have."""

from __future__ import annotations

from harvester.core.calendar import NO_DAYS, DaySet
from harvester.core.model import Window
from harvester.storage.publish import EvidenceOf
from harvester.tables.evidence import History
from harvester.tables.expectation import expects_rows


def expects(evidence: EvidenceOf, window: Window, found: DaySet) -> bool:
    """Return whether rows were to be expected of a window.

    ``found`` are the days of its account and dataset that had rows in this run, or may still have.
    """
    known = evidence[window.dataset]
    history = known.histories.get(window.appid, History())
    answered = history.answered | known.wanted.get(window.appid, NO_DAYS)
    return expects_rows(known.dataset, window, History(answered, history.with_rows | found))
