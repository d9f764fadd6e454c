"""``python -m harvester.catalogue``: print docs/datasets.md."""

from __future__ import annotations

import sys

from harvester.catalogue.markdown import page

if __name__ == "__main__":
    sys.stdout.buffer.write(page().encode())
