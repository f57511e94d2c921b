"""The comparison as a picture: bars in SVG, with nothing that needs a library or a script."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree

from figures import CPU, STATEMENTS, Figure, figures
from measurement import Configuration, Results
from numerals import written

STOCK_COLOUR, PARSEGATE_COLOUR, TEXT_COLOUR, MUTED_COLOUR = "#9aa4b2", "#0b7a75", "#1f2933", "#616e7c"
WIDTH, MARGIN = 900, 24
LABELS, VALUES = 230, 170
BAR, GAP = 11, 12
HEADING, PANEL_GAP = 30, 22


@dataclass(frozen=True)
class _Panel:
    """One heading with a pair of bars for each configuration."""

    title: str
    rows: list[tuple[str, Figure]]

    @property
    def height(self) -> int:
        return HEADING + len(self.rows) * (2 * BAR + GAP) + PANEL_GAP


def plot(results: Results) -> str:
    """An SVG document."""
    panels = [panel for panel in _panels(results) if panel.rows]
    height = 2 * MARGIN + 24 + sum(panel.height for panel in panels)
    svg = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH} {height}",
            "width": str(WIDTH),
            "height": str(height),
            "font-family": "system-ui, sans-serif",
            "role": "img",
        },
    )
    ElementTree.SubElement(svg, "title").text = "What a file costs stock Airflow and parsegate"
    _box(svg, 0, 0, WIDTH, height, "#ffffff")
    _legend(svg)
    top = MARGIN + 24.0
    for panel in panels:
        _draw(svg, panel, top)
        top += panel.height
    ElementTree.indent(svg)
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def _panels(results: Results) -> list[_Panel]:
    def rows(case: str, name: str) -> list[tuple[str, Figure]]:
        return [
            (_label(configuration), figure)
            for configuration in results.configurations
            if case in configuration.cases
            for figure in figures(configuration, case)
            if figure.name == name
        ]

    return [
        _Panel("Unchanged file: CPU to store, ms", rows("unchanged", CPU)),
        _Panel("Unchanged file: SQL statements", rows("unchanged", STATEMENTS)),
        _Panel("Changed file: CPU to store, ms", rows("changed", CPU)),
        _Panel("New file: CPU to store, ms", rows("cold", CPU)),
    ]


def _label(configuration: Configuration) -> str:
    kind = "SQLite" if configuration.database == "sqlite" else "PostgreSQL"
    return f"{kind}, {configuration.files:,} files × {configuration.processors}"


def _draw(svg: ElementTree.Element, panel: _Panel, top: float) -> None:
    _text(svg, MARGIN, top + 16, panel.title, size=15, weight="600")
    largest = max(max(figure.stock or 0.0, figure.parsegate) for _, figure in panel.rows) or 1.0
    left = MARGIN + LABELS
    length: Callable[[float], float] = lambda value: max(value, 0.0) / largest * (WIDTH - left - MARGIN - VALUES)  # noqa: E731
    y = top + HEADING
    for label, figure in panel.rows:
        _text(svg, left - 12, y + BAR + 4, label, size=13, anchor="end")
        stock = figure.stock or 0.0
        _box(svg, left, y, length(stock), BAR - 1, STOCK_COLOUR)
        _text(svg, left + length(stock) + 6, y + BAR - 2, written(stock), size=11, colour=MUTED_COLOUR)
        _box(svg, left, y + BAR, max(length(figure.parsegate), 1), BAR - 1, PARSEGATE_COLOUR)
        ratio = f"{written(figure.parsegate)}  (× {written(figure.ratio)})"
        _text(svg, left + length(figure.parsegate) + 6, y + 2 * BAR - 2, ratio, size=11, colour=PARSEGATE_COLOUR)
        y += 2 * BAR + GAP


def _legend(svg: ElementTree.Element) -> None:
    x = MARGIN
    for name, colour in (("stock Airflow", STOCK_COLOUR), ("parsegate (× stock)", PARSEGATE_COLOUR)):
        _box(svg, x, MARGIN - 8, 12, 12, colour)
        _text(svg, x + 18, MARGIN + 3, name, size=13)
        x += 140
    _text(
        svg, WIDTH - MARGIN, MARGIN + 3, "for one file; files × processors", size=12, anchor="end", colour=MUTED_COLOUR
    )


def _box(svg: ElementTree.Element, x: float, y: float, width: float, height: float, colour: str) -> None:
    place = {"x": x, "y": y, "width": width, "height": height}
    ElementTree.SubElement(svg, "rect", {name: f"{value:.1f}" for name, value in place.items()} | {"fill": colour})


def _text(
    svg: ElementTree.Element,
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    anchor: str = "start",
    weight: str = "400",
    colour: str = TEXT_COLOUR,
) -> None:
    attributes = {
        "x": f"{x:.1f}",
        "y": f"{y:.1f}",
        "font-size": str(size),
        "font-weight": weight,
        "text-anchor": anchor,
        "fill": colour,
    }
    ElementTree.SubElement(svg, "text", attributes).text = text
