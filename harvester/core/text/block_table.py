"""Hash table of pieces of a text by their bytes, without a Python object for each piece."""

from __future__ import annotations

from array import array

BLOCK = 6
"""Bytes of a block, the shorter of the two kinds of keys."""

WINDOW = 12
"""Bytes of a window, the longer kind."""

_FIRST_SLOTS = 1024


class BlockTable:
    """Places of blocks and windows in ``text``, which only grows; place 0 is never stored."""

    def __init__(self, text: bytearray) -> None:
        self.text = text
        # Twice a place, and one more for a window; 0 is a free slot.
        self.slots = array("I", bytes(4 * _FIRST_SLOTS))
        self._used = 0

    def slot(self, key: bytes) -> int:
        """Return the slot of a key, or the free one where it belongs."""
        slots, text, size = self.slots, self.text, len(key)
        last = len(slots) - 1
        slot = hash(key) & last
        while (entry := slots[slot]) and text[entry >> 1 : (entry >> 1) + size] != key:
            slot = (slot + 1) & last
        return slot

    def place(self, key: bytes) -> int:
        """Return the stored place of a key, 0 if there is none."""
        return self.slots[self.slot(key)] >> 1

    def make_room(self, more: int) -> None:
        """Grow so that three eighths of the slots are enough for so many more keys."""
        size = len(self.slots)
        # Fuller tables are slower, because more unknown blocks meet a slot in use.
        while (self._used + more) * 8 > size * 3:
            size *= 2
        if size > len(self.slots):
            old, self.slots = self.slots, array("I", bytes(4 * size))
            for entry in filter(None, old):
                begin = entry >> 1
                key = self.text[begin : begin + (WINDOW if entry & 1 else BLOCK)]
                self.slots[self.slot(bytes(key))] = entry

    def add_blocks(self, value: bytes, start: int, step: int) -> list[int]:
        """Store the blocks at every ``step``-th byte of a value that begins at ``start``.

        Returns where in the value those blocks stand that were stored already, and changes nothing
        for these. The caller has made room.
        """
        slots, text, last = self.slots, self.text, len(self.slots) - 1
        known = []
        # One loop without calls, because every token of a run passes it.
        for at in range(0, len(value) - BLOCK + 1, step):
            block = value[at : at + BLOCK]
            slot = hash(block) & last
            while (entry := slots[slot]) and text[entry >> 1 : (entry >> 1) + BLOCK] != block:
                slot = (slot + 1) & last
            if entry:
                known.append(at)
            else:
                slots[slot] = (start + at) << 1
                self._used += 1
        return known

    def add_window(self, key: bytes, place: int) -> None:
        """Store a window unless it is stored already."""
        self.make_room(1)
        slot = self.slot(key)
        if not self.slots[slot]:
            self.slots[slot] = place << 1 | 1
            self._used += 1
