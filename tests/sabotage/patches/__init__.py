"""The table of sabotages: a fault, its place, and the test that must notice it.

An old text is as short as its place allows, so that it stands when the code around it changes. If a
change removes it, the fault is planted at the new place of what it breaks, and never dropped.
"""

from __future__ import annotations

from tests.sabotage.patches import (
    answers,
    attention,
    durability,
    lakehouse,
    limits,
    metrics,
    outcomes,
    page_script,
    pages,
    queries,
    report,
    rows,
    tables,
    views,
    words,
)

SABOTAGES = (
    *durability.SABOTAGES,
    *rows.SABOTAGES,
    *limits.SABOTAGES,
    *answers.SABOTAGES,
    *words.SABOTAGES,
    *outcomes.SABOTAGES,
    *attention.SABOTAGES,
    *pages.SABOTAGES,
    *views.SABOTAGES,
    *report.SABOTAGES,
    *page_script.SABOTAGES,
    *metrics.SABOTAGES,
    *queries.SABOTAGES,
    *tables.SABOTAGES,
    *lakehouse.SABOTAGES,
)
