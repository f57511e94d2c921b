"""What ``parsegate standalone`` shows of a pass: a table of the files for a person, the totals for a program."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..client.parse_summary import ParseSummary


def print_files(console: Console, summary: ParseSummary, unstored: Sequence[str], seconds: float) -> None:
    """One row for each file.

    :param unstored: files of which no result of this pass was stored
    :param seconds: how long the pass took
    """
    table = Table("File", title_justify="left", show_edge=False, header_style="bold")
    for heading in ("DAGs", "Errors", "Duration"):
        table.add_column(heading, justify="right")
    for file in summary.files:
        if file.is_stored:
            errors = Text(str(file.import_error_count), style="red" if file.import_error_count else "")
            duration = "" if file.parse_duration is None else f"{file.parse_duration:.2f} s"
            table.add_row(Text(file.path), str(file.dag_count), errors, duration)
    for path in unstored:
        table.add_row(Text(path), "", Text("not stored", style="bold red"), "")
    console.print(table)
    troubles = {file.path: file.trouble for file in summary.files}
    for path in unstored:
        console.print(Text(f"{path}: {troubles.get(path) or 'not parsed in this pass'}", style="red"))
    console.print(
        f"\n{len(summary.files)} files, {summary.dag_count} DAGs, {summary.import_error_count} import errors, "
        f"{summary.warning_count} warnings in {seconds:.1f} s"
    )


def totals(bundles: list[str], files: Collection[str], summary: ParseSummary, seconds: float) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    return {
        "bundles": bundles,
        "files": len(files),
        "dags": summary.dag_count,
        "import_errors": summary.import_error_count,
        "warnings": summary.warning_count,
        "seconds": round(seconds, 3),
    }
