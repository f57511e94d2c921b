"""The comparison of one configuration, for a terminal."""

from __future__ import annotations

from figures import cpu_by_role, cpu_differences, figures
from measurement import PARSEGATE, SIDES, STOCK, Configuration
from numerals import bound, written
from rich.console import Group
from rich.table import Table

_STYLES = {"missed": "bold red", "required": "yellow", "aim": "green", "": ""}


def comparison(configuration: Configuration) -> Group:
    """Stock and parsegate side by side, case by case, and whose CPU time it is."""
    count = configuration.processors
    title = (
        f"{configuration.database}, {configuration.files} files, {count} processor{'s' if count > 1 else ''} of "
        f"{configuration.parsing_processes} children; for one file"
    )
    table = Table(title=title)
    for heading in ("Case", "", "Stock", "parsegate", "Ratio", "Required", "Aim", "Reached"):
        table.add_column(heading, justify="left" if heading in ("Case", "", "Reached") else "right")
    for case in configuration.cases:
        for figure in figures(configuration, case):
            required, aim = (bound(figure.bound.required), bound(figure.bound.aim)) if figure.bound else ("", "")
            table.add_row(
                case,
                figure.name,
                written(figure.stock),
                written(figure.parsegate),
                written(figure.ratio),
                required,
                aim,
                figure.verdict,
                style=_STYLES[figure.verdict],
            )
        table.add_section()
    return Group(table, _roles(configuration))


def _roles(configuration: Configuration) -> Table:
    table = Table(title="Whose CPU time, ms for one file")
    for heading in ("Case", "Side", "Roles", "To store: lowest to highest"):
        table.add_column(heading)
    for case in configuration.cases:
        for side in SIDES:
            roles = cpu_by_role(configuration, case, side)
            differences = [] if side not in (STOCK, PARSEGATE) else cpu_differences(configuration, case, side)
            table.add_row(
                case,
                side,
                ", ".join(f"{role} {written(value)}" for role, value in roles.items()),
                "" if not differences else f"{written(min(differences))} to {written(max(differences))}",
            )
    return table
