"""Labels of a run: texts by name that the caller gives, and those of the engine that starts it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harvester.core.errors import UsageError
from harvester.core.text.inert_text import inert
from harvester.core.text.safe_text import own_text, safe_text

MAX_LABELS = 20
"""Maximum labels of the caller."""

MAX_VALUE = 200
"""Maximum characters of a value. The label of an engine is cut, a longer one is refused."""

ENGINE_VARIABLES = (
    *("GITHUB_REPOSITORY", "GITHUB_WORKFLOW", "GITHUB_JOB", "GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT"),
    *("CI_PROJECT_PATH", "CI_PIPELINE_ID", "CI_JOB_ID", "BUILD_TAG"),
    *("AIRFLOW_CTX_DAG_ID", "AIRFLOW_CTX_TASK_ID", "AIRFLOW_CTX_DAG_RUN_ID"),
    *("AIRFLOW_CTX_TRY_NUMBER", "DAGSTER_RUN_ID", "DAGSTER_RUN_JOB_NAME", "PREFECT__FLOW_RUN_ID"),
    *("SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_ARRAY_TASK_ID"),
    *("AWS_BATCH_JOB_ID", "AWS_BATCH_JOB_ARRAY_INDEX"),
    *("CLOUD_RUN_JOB", "CLOUD_RUN_EXECUTION", "CLOUD_RUN_TASK_INDEX"),
    "JOB_COMPLETION_INDEX",
)
"""Variables by which engines name what they start. Each becomes a label of the same name."""

_POD = "KUBERNETES_POD"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}")
_SECRET_NAME = re.compile(r"(?i)token|secret|passw")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def check_labels(given: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a caller. Raises UsageError for too many, and for unfit ones."""
    if len(given) > MAX_LABELS:
        raise UsageError(f"{len(given)} labels", f"give at most {MAX_LABELS}")
    for name, value in given.items():
        what = f"the label `{inert(name[:80])}`"
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{what} has no valid name",
                "write up to 63 letters, digits and _ . / - with a letter or digit first",
            )
        if _SECRET_NAME.search(name):
            raise UsageError(f"{what} is named as a secret", "run records are no place for one")
        if len(value) > MAX_VALUE:
            raise UsageError(f"{what} is too long", f"give at most {MAX_VALUE} characters")
    return dict(given)


def parse_labels(texts: tuple[str, ...]) -> dict[str, str]:
    """Parse texts like ``team=growth``. Raises UsageError for other texts, and as `check_labels`.

    A name that comes twice is refused, unless its value is the same.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError("a label without a `=`", "write --label team=growth")
        if found.setdefault(name, value) != value:
            raise UsageError(f"the label `{inert(name[:80])}` is given twice", "give it once")
    return check_labels(found)


def engine_labels(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of the engine whose variables an environment has."""
    found = {name: environ[name] for name in ENGINE_VARIABLES if environ.get(name)}
    # Kubernetes names no job to its containers, and a pod's host has the name of the pod.
    if environ.get("KUBERNETES_SERVICE_HOST") and environ.get("HOSTNAME"):
        found[_POD] = environ["HOSTNAME"]
    return found


def safe(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels for a record: secrets and words that look like one masked, and inert."""
    return {name: _safe_value(value) for name, value in labels.items()}


def _safe_value(value: str) -> str:
    # The id of a commit looks like a secret, and is what a label is for.
    return (own_text if _COMMIT.fullmatch(value) else safe_text)(value, MAX_VALUE)
