"""docs/benchmarks.md and the plot beside it, made from what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from string import Template

from figures import DELAY, MEMORY, Figure, cpu_by_role, cpu_differences, figures, growths
from measurement import CASES, PARSEGATE, SIDES, STOCK, Configuration, Results
from numerals import bound, written
from plot import plot

_PAGE = Path(__file__).with_name("page.md.in")


def write_document(results: Results, path: Path) -> None:
    """Write the page to ``path`` and the plot beside it."""
    path.write_text(markdown(results))
    path.with_suffix(".svg").write_text(plot(results))


def markdown(results: Results) -> str:
    """The page: page.md.in, with tables for its placeholders."""
    cases = {
        case: _table(_case_rows(results, case)) + "\n" + _table(_role_rows(results, case))
        if any(case in configuration.cases for configuration in results.configurations)
        else "Not measured.\n"
        for case in CASES
    }
    return Template(_PAGE.read_text()).substitute(
        cases, requirements=_requirements(results), ahead=_ahead(results), environment=_environment(results)
    )


def _name(configuration: Configuration) -> list[str]:
    kind = "SQLite" if configuration.database == "sqlite" else "PostgreSQL"
    return [kind, f"{configuration.files:,}", str(configuration.processors)]


def _requirements(results: Results) -> str:
    """The lowest and the highest that was measured of everything that has a bound."""
    found: dict[str, list[Figure]] = {}
    for configuration in results.configurations:
        for case in configuration.cases:
            for figure in figures(configuration, case):
                # An agent's memory is that of the whole run.
                title = figure.name if figure.name == MEMORY else f"{case} files: {figure.name}"
                found.setdefault(title, []).append(figure)
    places = dict.fromkeys((one.database, one.processors) for one in results.configurations)
    for case in CASES:
        for database, processors in places:
            for figure in growths(results, database, processors, case):
                found.setdefault(f"{case} files: {figure.name}", []).append(figure)
    rows = [["What", "Of", "Measured, lowest to highest", "Required", "Aim", "Reached"]]
    for title, several in found.items():
        values = sorted(figure.judged for figure in several if figure.bound and figure.judged is not None)
        if values:
            rows.append([title, *_judgement(several[0], values, {figure.verdict for figure in several})])
    return _table(rows)


def _judgement(figure: Figure, values: list[float], verdicts: set[str]) -> list[str]:
    assert figure.bound is not None
    lowest, highest = written(values[0]), written(values[-1])
    return [
        "parsegate / stock" if figure.of_ratio else "parsegate",
        lowest if lowest == highest else f"{lowest} to {highest}",
        bound(figure.bound.required),
        bound(figure.bound.aim),
        next(verdict for verdict in ("missed", "required", "aim") if verdict in verdicts),
    ]


def _case_rows(results: Results, case: str) -> Iterator[list[str]]:
    yield ["Database", "Files", "Processors", "", "Stock", "parsegate", "Ratio"]
    for configuration in results.configurations:
        if case in configuration.cases:
            name = _name(configuration)
            for figure in figures(configuration, case):
                yield [*name, figure.name, written(figure.stock), written(figure.parsegate), written(figure.ratio)]
                name = ["", "", ""]


def _role_rows(results: Results, case: str) -> Iterator[list[str]]:
    yield ["Database", "Files", "Processors", "Side", "CPU by role, ms", "To store, lowest to highest"]
    for configuration in results.configurations:
        if case not in configuration.cases:
            continue
        name = _name(configuration)
        for side in SIDES:
            differences = [] if side not in (STOCK, PARSEGATE) else cpu_differences(configuration, case, side)
            roles = cpu_by_role(configuration, case, side)
            yield [
                *name,
                side,
                ", ".join(f"{role} {written(milliseconds)}" for role, milliseconds in roles.items()),
                "" if not differences else f"{written(min(differences))} to {written(max(differences))}",
            ]
            name = ["", "", ""]


def _ahead(results: Results) -> str:
    """A line for each figure that both sides have and that is higher with parsegate."""
    lines = [
        f"{case} files, {database}, {files} files, {processors} processor{'s' if processors != '1' else ''}: "
        f"{figure.name} {written(figure.ratio)} times stock's."
        for configuration in results.configurations
        for database, files, processors in [_name(configuration)]
        for case in configuration.cases
        for figure in figures(configuration, case)
        if figure.ratio is not None and figure.ratio > 1 and figure.name != DELAY
    ]
    return "".join(f"* {line}\n" for line in lines or ["In no other figure that both sides have."])


def _environment(results: Results) -> str:
    rows = [["What", "Which"], *([name, value] for name, value in results.environment.items())]
    passes = [
        f"{configuration.database}, {configuration.files:,} files × {configuration.processors}: "
        f"{len({turn.round for turn in configuration.turns})} round(s), "
        f"{configuration.parsing_processes} children for each processor"
        for configuration in results.configurations
    ]
    rows.append(["Measured", "; ".join(passes)])
    return _table(rows)


def _table(rows: Iterator[list[str]] | list[list[str]]) -> str:
    heading, *others = rows
    lines = [heading, ["---"] * len(heading), *others]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
