"""Plants each sabotage, or those that are named, and names the test that catches it.

::

    python -m tests.sabotage [NAME...]
"""

from __future__ import annotations

import sys
from functools import partial

from tests.sabotage.patches import SABOTAGES
from tests.sabotage.run import chosen, report

if __name__ == "__main__":
    known = {sabotage.name: sabotage for sabotage in SABOTAGES}
    sys.exit(report(chosen(sys.argv[1:], known), partial(print, flush=True)))
