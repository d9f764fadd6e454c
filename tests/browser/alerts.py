"""Alert rules of examples/prometheus, and when they fire in the stories of their own tests."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "examples" / "prometheus"
MINUTES = 30
"""Between two looks at the alerts of a story."""

_MISMATCH = re.compile(
    r"alertname: (\w+), time: (\S+), *\n *exp:\[\], *\n *got:\[\n(.*?)\n {12}\]", re.DOTALL
)
_ALERT = re.compile(
    r'Labels:(\{.*?severity="(\w+)".*?\}) *\n.*?summary="((?:[^"\\]|\\.)*)"', re.DOTALL
)
_HOURS = {"d": 24.0, "h": 1.0, "m": 1 / 60}

PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Alerts</title>
<style>
body { margin: 0; padding: 28px 36px; color: #1d2126; font: 14px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 4px; font-size: 20px; font-weight: 600; }
p { margin: 0 0 18px; color: #5d6670; }
table { border-collapse: collapse; width: 100%; }
th { color: #5d6670; font-weight: 500; font-size: 12px; text-align: left; }
th, td { padding: 7px 18px 7px 0; border-bottom: 1px solid #dcdfe3; vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.time { width: 260px; padding-top: 11px; }
svg { display: block; width: 100%; height: 12px; background: #edf0f2; }
.critical { fill: #bf3415; color: #a3260f; }
.warning { fill: #f2b632; color: #8a5500; }
.info { fill: #7fb2d6; color: #1f628f; }
small { display: block; color: #5d6670; font-size: 12px; }
</style>
<h1>What fires when</h1>
<p>The rules of examples/prometheus, as promtool evaluates them. A line is as long as its story.</p>
<table>
<tr><th>what happens<th>fires<th>alert<th>says</tr>
ROWS
</table></html>
"""


@dataclass
class Fired:
    """An alert of a story that lasts ``hours``, and the hours at which it was seen to fire."""

    story: str
    hours: float
    alert: str
    severity: str
    summary: str
    at: list[float]


def fired() -> Iterator[Fired]:
    """Yield the alerts of each story that has some. promtool tells them as what no test expects."""
    tests = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text("utf-8"))
    for story in tests["tests"]:
        expected = [
            test["alertname"] for test in story["alert_rule_test"] if test.get("exp_alerts")
        ]
        last = max(_hours(test["eval_time"]) for test in story["alert_rule_test"])
        found: dict[str, Fired] = {}
        for name, hour, labels, severity, summary in _seen(tests, story, set(expected), last):
            alert = Fired(story["name"], last, name, severity, summary, [])
            found.setdefault(labels, alert).at.append(hour)
        yield from found.values()


def _seen(
    tests: Mapping[str, Any], story: Mapping[str, Any], alerts: set[str], last: float
) -> Iterator[tuple[str, float, str, str, str]]:
    """Yield name, hour, labels, severity and summary of each alert, whenever it is looked at."""
    moments = [f"{minute}m" for minute in range(0, round(last * 60) + 1, MINUTES)]
    looks = [{"alertname": name, "eval_time": time} for name in sorted(alerts) for time in moments]
    asked = {**tests, "tests": [{**story, "alert_rule_test": looks}]}
    with tempfile.TemporaryDirectory() as folder:
        for name in tests["rule_files"]:
            (Path(folder) / name).write_bytes((FOLDER / name).read_bytes())
        (Path(folder) / "looks.yaml").write_text(yaml.safe_dump(asked), "utf-8")
        command = ["promtool", "test", "rules", "looks.yaml"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    for name, time, got in _MISMATCH.findall(done.stderr + done.stdout):
        for found in _ALERT.findall(got):
            yield name, _hours(time), *found


def _hours(time: str) -> float:
    return sum(float(count) * _HOURS[unit] for count, unit in re.findall(r"(\d+)([dhm])", time))


def page() -> str:
    """Return a table with a line of time for each alert."""
    rows, before = [], ""
    for each in fired():
        story, before = "" if each.story == before else each.story, each.story
        alert = f"<b class='{each.severity}'>{escape(each.alert)}</b><small>{each.severity}</small>"
        cells = (
            f"{escape(story)}<td class='time'>{_line(each)}<td>{alert}<td>{escape(each.summary)}"
        )
        rows.append(f"<tr><td>{cells}</tr>")
    return PAGE.replace("ROWS", "\n".join(rows))


def _line(each: Fired) -> str:
    """Return the time of a story with the parts in which an alert fires, and when that begins."""
    step = 100 * MINUTES / 60 / each.hours
    parts = "".join(
        f"<rect x='{100 * hour / each.hours - step:.2f}' width='{step + 0.1:.2f}' height='12'/>"
        for hour in each.at
    )
    shape = f"viewBox='0 0 100 12' preserveAspectRatio='none' class='{each.severity}'"
    return f"<svg {shape}>{parts}</svg><small>after {each.at[0]:g} h</small>"
