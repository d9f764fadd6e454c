"""Environment variables that set options, and a warning of those that set none."""

from __future__ import annotations

import logging
import re
from os import environ

from harvester.core.config.nearest import nearest
from harvester.core.config.references import quote_safe_name

PREFIX = "HARVESTER_"

OPTIONS = """
ACCOUNTS ACKNOWLEDGE ALL AT_LEAST BASE BEFORE BEGIN_DATE BUCKETS BY CATALOG DATASETS DRY_RUN
END_DATE ENGINE EXPIRE FINAL FOOTERS_ONLY FORMAT FOR_CLIENT HTML IGNORE_SPENT_QUOTA JOBS LABEL
LANG LOCK_TIMEOUT LOG_FORMAT LOG_LEVEL MANIFEST MAX_DURATION METRICS OFFLINE OK_EXIT OUTPUT
OWNERS PROCESSES PROGRESS RAW REFETCH REPAIR REQUIRE SCHEMA SHARD SHARDS SINCE SUMMARY
SUMMARY_MARKDOWN TO UNTIL_ATTENTION UNTIL_COMPLETE URI WAIT WAREHOUSE
"""
"""The variables of all verbs, without their beginning: to find them would load every verb."""

# Kubernetes sets these for a service with such a name.
_OF_SERVICES = re.compile(r"_SERVICE_(HOST|PORT)|_PORT(_|$)")


def warn_of_unknown() -> None:
    """Log a warning of each variable that looks like an option and is none."""
    known = OPTIONS.split()
    for name in environ:
        option = name.removeprefix(PREFIX)
        if option not in (name, *known) and not _OF_SERVICES.search(name):
            hint = nearest(option, known).replace(" `", f" `{PREFIX}") or "it sets no option"
            text = f"unknown variable{quote_safe_name(name)}: {hint}"
            logging.getLogger("harvester.cli").warning("%s", text)
