"""The status page's templates and files, and what the templates say about times, durations and states."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from starlette.types import Scope

FOLDER = Path(__file__).parent / "status"

CHART_BARS = 10
CHART_HEIGHT = 22.0

_STATUS_WORDS = {"TIMED_OUT": "timed out", "REFUSED": "refused"}
_MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


class StatusAssets(StaticFiles):
    """ASGI application of ``/assets/``: the style sheet and the script of the status page."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER / "static")

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        if "content-type" in response.headers:
            response.headers["Content-Type"] = _MEDIA_TYPES[Path(full_path).suffix]
        return response


def render(template: str, **values: Any) -> str:
    """The page that ``template`` makes of ``values``."""
    return _TEMPLATES.get_template(template).render(now=datetime.now(UTC), **values)


def moment(text: str) -> str:
    """A time of the contract, to the second, for people."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(text: str, now: datetime) -> str:
    """How long ago a time of the contract was, in its largest unit."""
    seconds = max(0, int((now - datetime.fromisoformat(text)).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def seconds(value: float | None) -> str:
    """A duration in seconds, with two significant digits."""
    if value is None:
        return "–"
    return f"{value:.0f} s" if value >= 10 else f"{value:.2g} s" if value >= 1 else f"{value:.2f} s"


def state_of(file: Mapping[str, Any]) -> tuple[str, str]:
    """How a file is doing, as a class of the style sheet and in words."""
    if file["status"] == "TIMED_OUT":
        return "bad", "Timed out"
    if file["status"] == "REFUSED":
        return "bad", "Refused"
    if count := file["importErrorCount"]:
        return "bad", "Import error" if count == 1 else f"{count} import errors"
    if count := file["warningCount"]:
        return "odd", "1 warning" if count == 1 else f"{count} warnings"
    return "good", "Stored"


def last_line(text: str | None) -> str:
    """What an error says in the end, after its traceback."""
    lines = [line for line in (text or "").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


@dataclass(frozen=True)
class Chart:
    """How long the last parses of a file took, as bars with the newest at the right.

    :param bars: for each its left edge, its height in a chart of :data:`CHART_HEIGHT`, and whether it was not stored
    :param text: the same in words
    """

    bars: Sequence[tuple[int, float, bool]]
    text: str


def chart_of(parses: Sequence[Mapping[str, Any]]) -> Chart:
    """:param parses: ``recentParses`` of a file, the newest first"""
    oldest_first = list(reversed(parses[:CHART_BARS]))
    slowest = max((parse["duration"] for parse in oldest_first), default=0) or 1.0
    bars: list[tuple[int, float, bool]] = []
    words: list[str] = []
    for index, parse in enumerate(oldest_first, CHART_BARS - len(oldest_first)):
        failed = parse["status"] != "STORED"
        bars.append((index * 8, round(max(2.0, CHART_HEIGHT * parse["duration"] / slowest), 1), failed))
        words.append(seconds(parse["duration"]) + (f" ({_STATUS_WORDS[parse['status']]})" if failed else ""))
    return Chart(bars, f"Last {len(bars)} parses, the oldest first: {', '.join(words)}")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = environment.filters
    for function in (moment, ago, seconds, state_of, last_line, chart_of):
        filters[function.__name__] = function
    return environment


_TEMPLATES = _environment()
