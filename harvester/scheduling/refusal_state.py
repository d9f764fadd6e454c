"""Refusal state of one dataset of one account: what its calls have shown since the last answer."""

from __future__ import annotations

from dataclasses import dataclass

from harvester.core.model import LearntRefusal


@dataclass(slots=True)
class RefusalState:
    """Permission to ask windows at once, and refusals in a row.

    Its methods take in what a call has shown. `RefusalLearning` decides what is ``held``,
    ``released`` and ``learnt``; a window that is handed out holds the others until the answer.

    ``opened`` is True after the first answer of the run. Before it one window at a time is in
    flight, as a probe, unless the dataset is ``released`` because a failure said nothing of it.
    While it is ``held`` no further window is handed out. ``in_a_row`` counts refusals since the
    last answer, and ``errcode`` is the last one's code; after the first answer only equal codes
    count together. ``learnt`` is the refusal that deferred the dataset, in this run or an earlier
    one, until an answer comes.
    """

    opened: bool = False
    released: bool = False
    held: bool = False
    in_a_row: int = 0
    errcode: int = 0
    learnt: LearntRefusal | None = None

    def answer(self) -> None:
        """Take in an answer: windows may be asked at once, and what was learnt is void."""
        self.opened = True
        self.held = False
        self.in_a_row = 0
        self.learnt = None

    def refuse(self, errcode: int) -> int:
        """Count a refusal. Returns how many came in a row."""
        # Once a window was answered, only equal codes show that the others share a cause.
        if self.opened and errcode != self.errcode:
            self.in_a_row = 0
        self.errcode = errcode
        self.in_a_row += 1
        return self.in_a_row
