"""The tables that ``parsegate status`` and ``parsegate errors`` print for a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .generated.enums import BundleVersionState, FileStatus, JobState
from .generated.fragments import BundleSummary, CallbackSummary, FailingFile, ProcessorSummary
from .operator import DeploymentStatus

_RED = "red"
_SHOWN = 20
"""Rows of a table that an overview has at most."""


def print_status(console: Console, status: DeploymentStatus, now: datetime | None = None) -> None:
    """Everything of a deployment at a glance: bundles, failing files, processors, callbacks."""
    now = now or datetime.now(UTC)
    console.print(_bundles(status.bundles, now))
    console.print()
    if status.failing:
        console.print(_failing(status.failing[:_SHOWN], now))
        if status.failing_count > _SHOWN:
            console.print(Text(f"{status.failing_count} in all: parsegate errors lists them, with their text."))
    else:
        console.print("No file fails.")
    console.print()
    shown = [processor for processor in status.processors if processor.alive or processor.state is JobState.RUNNING]
    if shown:
        console.print(_processors(shown, now))
    if not any(processor.alive for processor in shown):
        console.print(Text("No processor is alive.", style=_RED))
    console.print()
    if status.callbacks:
        console.print(_callbacks(status.callbacks[:_SHOWN]))
    parked = f", {status.parked_callback_count} parked" if status.parked_callback_count else ""
    console.print(f"{status.callback_count} callbacks wait or run{parked}.")


def print_failing_files(console: Console, files: Sequence[FailingFile]) -> None:
    """Each file with what is wrong with it, in full."""
    for file in files:
        console.print(Text(f"{file.bundle_name}/{file.relative_fileloc}", style="bold"), soft_wrap=True)
        if file.status is not FileStatus.STORED:
            console.print(Text(f"  {trouble(file)}", style=_RED), soft_wrap=True)
        for error in file.import_errors:
            if error.relative_fileloc not in (None, file.relative_fileloc):
                console.print(Text(f"  in {error.relative_fileloc}"), soft_wrap=True)
            for line in (error.stacktrace or "The text of the error is unknown.").rstrip().splitlines():
                console.print(Text(f"  {line}"), soft_wrap=True)


def trouble(file: FailingFile) -> str:
    """What is wrong with a file, in one line."""
    if file.status is FileStatus.STORED:
        lines = [line for error in file.import_errors for line in (error.stacktrace or "").rstrip().splitlines()[-1:]]
        return lines[0].strip() if lines else f"{file.import_error_count} import errors"
    what = file.reason.value if file.reason else file.status.value.lower().replace("_", " ")
    return f"{what}: {file.message}" if file.message else what


def age(since: datetime | None, now: datetime) -> str:
    """How long ago that was, in its largest unit."""
    if since is None:
        return "never"
    seconds = max(0, int((now - since).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def _table(title: str, *columns: str) -> Table:
    table = Table(*columns, title=title, title_justify="left", title_style="bold", show_edge=False, header_style="bold")
    for column in table.columns:
        column.overflow = "fold"
    return table


def _count(number: int) -> Text:
    return Text(str(number), style=_RED if number else "")


def _bundles(bundles: Sequence[BundleSummary], now: datetime) -> Table:
    table = _table("Bundles", "Bundle", "Version", "Parsed", "Refreshed")
    for heading in ("Failing", "DAGs", "Warnings"):
        table.add_column(heading, justify="right")
    table.columns[1].no_wrap = True
    for bundle in bundles:
        current = bundle.current_version
        table.add_row(
            Text(bundle.name),
            Text(((current.version if current else bundle.version) or "")[:12]),
            _parsed(bundle),
            age(bundle.last_refreshed, now),
            _count(bundle.error_file_count),
            str(bundle.dag_count),
            str(bundle.warning_count),
        )
    return table


def _parsed(bundle: BundleSummary) -> Text:
    version = bundle.current_version
    if version is None:
        return Text(f"{bundle.file_count} files")
    is_complete = version.state is BundleVersionState.COMPLETE
    return Text(f"{version.stored_count} of {version.file_count} files", style="" if is_complete else "yellow")


def _failing(files: Sequence[FailingFile], now: datetime) -> Table:
    table = _table("Failing files", "File", "Last parse", "What is wrong")
    for file in files:
        table.add_row(
            Text(f"{file.bundle_name}/{file.relative_fileloc}"),
            age(file.last_parsed_at, now),
            Text(trouble(file), style=_RED),
        )
    return table


def _processors(processors: Sequence[ProcessorSummary], now: datetime) -> Table:
    table = _table("Processors", "Job", "Host", "Bundles", "Airflow", "State", "Heartbeat", "Does")
    for processor in processors:
        table.add_row(
            str(processor.job_id),
            Text(processor.hostname),
            Text(", ".join(processor.bundle_names)),
            processor.airflow_version,
            Text("alive", style="green") if processor.alive else Text("silent", style=_RED),
            age(processor.latest_heartbeat, now),
            Text(_activity(processor)),
        )
    return table


def _activity(processor: ProcessorSummary) -> str:
    activity = processor.activity
    if activity is None or not processor.alive:
        return ""
    parts = [f"parses {len(activity.parsing)}"] if activity.parsing else []
    if activity.queued_files:
        parts.append(f"{activity.queued_files} wait")
    if activity.undelivered_results:
        parts.append(f"{activity.undelivered_results} undelivered")
    return ", ".join(parts) or "idle"


def _callbacks(callbacks: Sequence[CallbackSummary]) -> Table:
    table = _table("Callbacks", "State", "Kind", "File", "DAG", "Age", "Message")
    for callback in callbacks:
        table.add_row(
            callback.state.value.lower(),
            callback.type_ or "",
            Text("/".join(part for part in (callback.bundle_name, callback.relative_fileloc) if part)),
            Text(callback.dag_id or ""),
            f"{callback.age:.0f} s",
            Text(callback.message or ""),
        )
    return table
