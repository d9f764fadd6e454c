"""``harvester run``: fetch what the output lacks, and publish it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from cyclopts import Parameter

from harvester import signals
from harvester.catalogue.languages import Language
from harvester.cli import options
from harvester.cli.output import json_lines, logs, run_summary, streams, workflow_commands
from harvester.cli.output.attention_lines import annotations_of_run
from harvester.cli.output.event_lines import EventLines
from harvester.cli.output.markdown_summary import run_text
from harvester.cli.output.terminal import Terminal
from harvester.cli.output.termination_message import write_message
from harvester.core.exit_codes import Exit
from harvester.runs.record.labels import parse_labels
from harvester.runs.record.record import Record
from harvester.runs.record.run_record import key_figures
from harvester.runs.runtime import RunOptions
from harvester.runs.stream import Watch, show_no_progress
from harvester.runs.user_files import UserFile, json_text
from harvester.verbs import progress
from harvester.verbs.arguments import processes_of
from harvester.verbs.run import Run, RunArguments

ProgressStyle: TypeAlias = Literal["auto", "bar", "log", "none"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Running:
    """Options of a run alone.

    Params:
        dry_run: Show the plan of the run, as harvester plan does, and ask nothing.
        max_duration: Start nothing new after this long (50m), publish, and exit with 75.
        until_complete: Wait until more can be obtained and run again, until nothing is unfinished.
        until_attention: End --until-complete once something new needs a person.
        wait: How long all runs and waits of --until-complete may take (12h); by default 24 hours.
        processes: Share the work among this many processes, or auto: one for each core.
        ignore_spent_quota: Forget the calls of today, and that WeChat said a quota is spent.
        progress: A bar on a terminal and lines elsewhere, or always one of them.
        summary: Also write the run record to this file.
        summary_markdown: Also write a summary for people to this file, as Markdown.
        metrics: Also write metrics for Prometheus to this file when the run has ended.
        label: A label for the run record: team=growth. May be given more than once.
    """

    dry_run: Annotated[bool, options.value("HARVESTER_DRY_RUN")] = False
    refetch: options.Refetch = None
    max_duration: Annotated[str | None, options.value("HARVESTER_MAX_DURATION")] = None
    until_complete: Annotated[bool, options.value("HARVESTER_UNTIL_COMPLETE")] = False
    until_attention: Annotated[bool, options.value("HARVESTER_UNTIL_ATTENTION")] = False
    wait: Annotated[str | None, options.value("HARVESTER_WAIT")] = None
    ignore_spent_quota: Annotated[bool, options.value("HARVESTER_IGNORE_SPENT_QUOTA")] = False
    shard: options.Shard = None
    processes: Annotated[str, options.value("HARVESTER_PROCESSES")] = "1"
    lock_timeout: options.LockTimeout = None
    progress: Annotated[ProgressStyle, options.value("HARVESTER_PROGRESS")] = "auto"
    summary: Annotated[Path | None, options.value("HARVESTER_SUMMARY")] = None
    summary_markdown: Annotated[Path | None, options.value("HARVESTER_SUMMARY_MARKDOWN")] = None
    metrics: options.Metrics = None
    label: options.Labels = ()
    lang: options.Lang = None

    def asked(self, **others: Any) -> RunArguments:
        """Return the arguments of the run but for those that are texts here, and the others."""
        return RunArguments(
            refetch=self.refetch,
            shard=self.shard,
            max_duration=self.max_duration,
            until_complete=self.until_complete,
            until_attention=self.until_attention,
            wait=self.wait,
            ignore_spent_quota=self.ignore_spent_quota,
            lock_timeout=self.lock_timeout,
            **others,
        )


_DEFAULT = Running()


def run(
    manifest: options.ManifestPath = options.JOBS,
    /,
    *,
    selecting: options.Selecting = options.ALL,
    output: options.Output = None,
    running: Running = _DEFAULT,
    _ok_exit: options.OkExit = "",
    logging: options.Logging = options.DEFAULT_LOGGING,
) -> int:
    """Fetch what the output lacks and publish it. Safe to repeat and to kill.

    Asks WeChat only for days that the files do not cover.

    For example:
      harvester run jobs.yaml --max-duration 50m --summary summary.json

    Exit codes:
      0   everything wanted is covered
      1   a local output cannot be read or written, or a bug
      2   a mistake in the manifest or the options; nothing was requested
      3   nothing more comes by itself: days were refused, failed or quarantined
      4   no account could be authorised, and nothing else is open
      75  not finished: run again
      76  not finished: run again; and something needs a person as well
      130, 143, 129  stopped by SIGINT, SIGTERM or SIGHUP; run again
    """
    logs.set_up(logging)
    language = options.language_of(running.lang, "text", stderr=True)
    terminal, lines = Terminal(language, stderr=True), EventLines()
    tell = json_lines.tell if json_lines.is_on() else lines.tell
    asked = running.asked(manifest=manifest, output=output, on_event=tell, **selecting.given())
    if running.dry_run:
        # Loaded only now, because no other run shows a plan.
        from harvester.cli.commands.plan import plan  # noqa: PLC0415 - as the line above says

        StoppableRun(asked, running).options()
        refetch, shard = running.refetch, running.shard
        plan(manifest, selecting=selecting, output=output, refetch=refetch, shard=shard)
        return Exit.DONE
    files = _files(running, lambda: execution)
    execution = StoppableRun(asked, running, files=files, watch=_watch(running.progress, terminal))
    with signals.stopping(execution):
        # Collect garbage less often, because requests make few cycles.
        gc.set_threshold(200_000, 20, 50)
        try:
            done = execution.execute()
        finally:
            _tell_engine(execution.record, running.lang)
        if done.error is not None:
            done.raise_for_outcome()
        if not json_lines.is_on():
            with streams.stderr_output():
                summary = execution.record, execution.project, [*lines.open.values()]
                run_summary.print_summary(terminal, *summary)
    return done.exit_code


class StoppableRun(Run):
    """A run that a signal stops, or has described. Some of its options are texts."""

    def __init__(self, asked: RunArguments, running: Running = _DEFAULT, **how: Any) -> None:
        super().__init__(asked, **how)
        self._running = running

    def options(self) -> RunOptions:
        """Return the options of the run beyond the manifest. Raises UsageError."""
        labels, count = self._running.label, self._running.processes
        processes = processes_of(int(count) if count.isdecimal() else count)
        return super().options()._replace(labels=parse_labels(labels), processes=processes)

    def final_write(self, patience: float = signals.FINAL_WRITE_SECONDS) -> None:
        """Write a record that names the signal, and tell it to a runner."""
        super().final_write(patience)
        _tell_engine(self.record, self._running.lang)


def _files(running: Running, execution: Callable[[], Run]) -> list[UserFile]:
    """Return the files that the options of a run name."""
    found = (
        ("--summary", running.summary, json_text),
        ("--summary-markdown", running.summary_markdown, partial(run_text, language=running.lang)),
    )
    files = [UserFile(option, path, text) for option, path, text in found if path is not None]
    return [*files, *([_metrics_file(running.metrics, execution)] if running.metrics else [])]


def _metrics_file(path: Path, execution: Callable[[], Run]) -> UserFile:
    # Loaded only now, because most runs have no such file.
    from harvester.cli.output import metrics  # noqa: PLC0415 - as the line above says

    def text(done: Record, members: Mapping[str, Any]) -> bytes | None:
        """Keep the metrics of the run before until this one has ended."""
        return metrics.of_run(done, members, execution().quota_use()) if done.finished else None

    return UserFile("--metrics", path, text, is_public=True)


def _tell_engine(done: Record, language: Language | None) -> None:
    """Tell a CI runner and Kubernetes how a run ended: outputs, summary, annotations, message."""
    text = run_text(done, language=language)
    workflow_commands.write_outputs(key_figures(done))
    workflow_commands.write_summary(text)
    write_message(text)
    if not json_lines.is_on():
        streams.print_commands(workflow_commands.annotation_commands(annotations_of_run(done)))


def _watch(style: ProgressStyle, terminal: Terminal) -> Watch:
    if style == "none" or json_lines.is_on():
        return show_no_progress
    if style == "bar" or (style == "auto" and terminal.is_terminal):
        logs.handle_by(logs.AboveTheBar(terminal))
        return partial(progress.show_bar, console=terminal)
    return progress.log_lines
