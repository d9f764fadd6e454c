"""The parts of a run that do not depend on the time, the machine and its speed.

Left out or replaced: times, durations, ids, names of this machine, the version, how often progress
was told, and when a problem was. Problems are joined by cause: the first and the last event and the
counts. ``days`` and ``appids`` of published files are in the change feed and not compared here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from tests.golden_runs.stage import Ended, Harvest

_VOLATILE = {
    *("harvester_version", "host", "manifest_digest", "run_id", "started_at", "ended_at"),
    *("seconds", "bound_seconds", "time", "rid", "seq", "days_left", "least_seconds_left"),
    *("seconds_left", "peak_memory"),
}
"""Members that are left out wherever they stand."""

_FEED = {"days", "appids"}
"""Members of published files that the change feed has."""

_IN_ANY_ORDER = {"exceptions", "published", "quarantined", "oddities", "without_rows", "suspicious"}
"""Lists whose order depends on which answer came first."""

_MOMENTS = {"retry_at", "quota_resets_at", "next_ready_at"}
_FIXED_MOMENT = re.compile(r"T\d\d:00:00Z$|T16:05:00Z$")
"""Full hours, and five past midnight in Beijing."""

_OF_A_CAUSE = ("shard", "cause", "dataset", "errcode", "scope", "file", "line", "column")
_COUNTS = ("accounts", "names", "count", "attempts")

_TEXTS = (
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}"), "<run>"),
    (re.compile(r"\brid:? [\w-]+"), "rid <rid>"),
    # Where a line is broken before it.
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{8}){2}\b"), "<rid>"),
    (re.compile(r" \([\d,]+ attempts? of [\d,]+ accounts?\)"), ""),
    (re.compile(r"(?<=  time      ).*"), "<time>"),
    (re.compile(r"[\d,]+ MiB"), "<memory>"),
    (re.compile(r"since \d{4}-\d\d-\d\dT[\d:]+Z"), "since <moment>"),
    (re.compile(r"\d{4}-\d\d-\d\d (?!\d\d:00|00:05|16:05)\d\d:\d\d"), "<moment>"),
)
_LOG_LINE = re.compile(r"\d\d:\d\d:\d\dZ (\w+) +(.*)")
_APPIDS = re.compile(r"wx[0-9a-f]{16}(, wx[0-9a-f]{16})*( and [\d,]+ more)?")
_FIGURE = re.compile(r"^  (requests|retries)  .*")


class Normaliser:
    """The rules of one scene: its texts of this machine, and its loose figures."""

    def __init__(self, hidden: Mapping[str, str], loose: Iterable[str]) -> None:
        self._hidden = sorted(hidden.items(), key=lambda item: -len(item[0]))
        self._loose = frozenset(loose)

    def command(self, told: Ended, written: Ended) -> dict[str, Any]:
        """Return what a golden file has of a command that ran with JSON lines and with text."""
        record = self.record(told.record) if told.record else None
        summary = self.record(told.summary) if told.summary else None
        for name, one, other in (
            ("exit code", told.code, written.code),
            ("record", record, self.record(written.record) if written.record else None),
            ("summary", summary, self.record(written.summary) if written.summary else None),
        ):
            if one != other:
                raise AssertionError(f"{name} of {told.words}: {one} with JSON lines, {other}")
        return {
            "options": list(told.words),
            "exit_code": int(told.code),
            "record": summary,
            "in_output": "the same" if record and record == summary else record,
            "events": self.events(told.err, told.summary),
            "text": self.text(written.err),
        }

    def harvest(self, harvest: Harvest) -> dict[str, Any]:
        """Return what a golden file has of a harvest on Spark."""
        return {
            "options": harvest.options,
            "error": self._value(harvest.error, ""),
            "rows": [self._row(row) for row in harvest.rows or ()],
            "records": _sorted(map(self.record, harvest.records)),
        }

    def record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the members of a run record that are compared."""
        # A run that was killed has not ended.
        found = self._members(record, record["ended_at"] or record["started_at"])
        found["waits"] = sorted(record["waits"])
        found["clock_offset"] = f"{record['clock_offset'] / 60:.0f} minutes"
        found["published"] = self._files(record["published"])
        return found

    def events(self, err: str, summary: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return what JSON lines say."""
        lines = [json.loads(line) for line in err.splitlines()]
        by_kind: dict[str, list[dict[str, Any]]] = {}
        for line in lines:
            by_kind.setdefault(line["event"], []).append(line)
        progress = by_kind.pop("progress", None)
        kinds = [line["event"] for line in lines if line["event"] != "progress"]
        first = [] if "first" in self._loose else kinds[:1]
        found: dict[str, Any] = {"kinds": sorted(by_kind), "first": first, "last": kinds[-1:]}
        for line in by_kind.pop("run_started", ()):
            found["run_started"] = self._event(line)
        if progress and "progress" in self._loose:
            found["progress"] = {
                "members": sorted(progress[-1]),
                **{name: progress[-1][name] for name in ("shard", "windows", "accounts")},
            }
        found["problems"] = self._problems(by_kind.pop("problem", []))
        found["published"] = self._files(by_kind.pop("published", []))
        for line in by_kind.pop("run_ended", ()):
            found["run_ended"] = self._end(line, summary)
        rest = [self._event(line) for lines in by_kind.values() for line in lines]
        found["others"] = _sorted({json.dumps(each): each for each in rest}.values())
        return found

    def text(self, err: str) -> dict[str, list[str]]:
        """Return the log lines without their times and repetitions, and the lines after them."""
        log: set[str] = set()
        rest: list[str] = []
        for line in err.splitlines():
            if match := _LOG_LINE.fullmatch(line):
                if not match[2].startswith("still: "):
                    said = self._text(match[2])
                    if "accounts" in self._loose:
                        said = _APPIDS.sub("<accounts>", said)
                    if "advice" in self._loose:
                        # Which of several lines has it depends on the process that fails first.
                        said = said.partition(" (rid <rid>). ")[0].removesuffix(" (rid <rid>)")
                    log.add(f"{match[1]} {said}")
                continue
            figure = _FIGURE.match(line)
            is_loose = figure is not None and figure[1] in self._loose
            rest.append(f"  {figure[1]} <some>" if is_loose and figure else self._line(line))
        return {"log": sorted(log), "summary": rest}

    def _line(self, line: str) -> str:
        said = self._text(line)
        # The first to fail is the first to be named.
        return _APPIDS.sub(_in_order, said) if "accounts" in self._loose else said

    def _members(self, value: Mapping[str, Any], now: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, inner in value.items():
            if name in self._loose and isinstance(inner, int):
                found[name] = "some" if inner or "zero" in self._loose else inner
            elif name in _MOMENTS:
                found[name] = _moment(inner, now)
            elif name == "since" and inner:
                # A run may begin some seconds after its scene.
                found[name] = re.sub(r"\d\dZ$", "00Z", inner)
            elif name not in _VOLATILE:
                made = self._value(inner, now)
                found[name] = (
                    _sorted(made) if name in _IN_ANY_ORDER and isinstance(made, list) else made
                )
        return found

    def _value(self, value: Any, now: str) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return self._members(value, now)
        if isinstance(value, list):
            return [self._value(each, now) for each in value]
        return value

    def _text(self, text: str) -> str:
        for machine, stands_for in self._hidden:
            text = text.replace(machine, stands_for)
        for pattern, stands_for in _TEXTS:
            text = pattern.sub(stands_for, text)
        return text.rstrip()

    def _files(self, files: Iterable[Mapping[str, Any]]) -> list[Any]:
        without = [
            {name: value for name, value in file.items() if name not in _FEED} for file in files
        ]
        return _sorted(self._value(each, "") for each in without)

    def _row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._members(row, ""), "published": self._files(row["published"])}

    def _event(self, line: Mapping[str, Any]) -> dict[str, Any]:
        made = self._members(line, line["time"])
        return {name: value for name, value in made.items() if value or name == "exit_code"}

    def _problems(self, lines: list[dict[str, Any]]) -> list[Any]:
        causes: dict[str, list[dict[str, Any]]] = {}
        for line in lines:
            key = [line[name] for name in _OF_A_CAUSE]
            # Warnings of the log have their text alone.
            key += [line["message"]] if line["cause"] in {"warning", "manifest"} else []
            causes.setdefault(json.dumps(key), []).append(line)
        return [self._cause(found) for _, found in sorted(causes.items())]

    def _cause(self, lines: list[dict[str, Any]]) -> dict[str, Any]:
        first, last = ({**self._event(line)} for line in (lines[0], lines[-1]))
        for name in (*_COUNTS, "event", "version"):
            first.pop(name, None)
            last.pop(name, None)
        differs = {
            name: last.get(name)
            for name in {**first, **last}
            if name != "repeated" and first.get(name) != last.get(name)
        }
        counts = {
            "accounts": sorted({each for line in lines for each in line["accounts"]})[:3],
            "names": sorted({each for line in lines for each in line["names"] if each}),
            "count": max(line["count"] for line in lines),
            "attempts": max(line["attempts"] for line in lines),
        }
        loose = {
            name: "some" if value and name in self._loose else value
            for name, value in counts.items()
        }
        return {"first": first, "last": differs, **{n: v for n, v in loose.items() if v}}

    def _end(self, line: Mapping[str, Any], summary: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the end of a run; of its record only the differences to the written one."""
        record = line["record"]
        whole = summary or {}
        found = self._event({name: value for name, value in line.items() if name != "record"})
        found["record_without"] = ", ".join(sorted(set(whole) - set(record)))
        found["record_differs"] = sorted(
            name for name, value in record.items() if name not in whole or whole[name] != value
        )
        return found


def _moment(text: str | None, now: str) -> str | None:
    """Return a fixed moment as it is, any other as minutes after ``now``."""
    if text is None or _FIXED_MOMENT.search(text):
        return text
    after = datetime.fromisoformat(text) - datetime.fromisoformat(now)
    if timedelta() < after <= timedelta(minutes=1):
        return "within a minute"
    return f"after {round(after / timedelta(minutes=1))} minutes"


def _in_order(appids: re.Match[str]) -> str:
    return ", ".join(sorted(appids[0].split(", ")))


def _sorted(values: Iterable[Any]) -> list[Any]:
    return sorted(values, key=lambda value: json.dumps(value, sort_keys=True))
