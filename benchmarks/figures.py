"""What the passes of a configuration come to: medians for one file, ratios, and what is required of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from measurement import (
    CHILDREN,
    MANAGER,
    PARSEGATE,
    PARSEGATE_PARSING,
    STOCK,
    STOCK_PARSING,
    Configuration,
    Results,
    Turn,
    largest,
)

STATEMENTS, COMMITS = "SQL statements", "commits"
CPU, CPU_ALL = "CPU to store, ms", "CPU in all, ms"
CPU_OWN, CPU_OWN_OUTSIDE = "CPU beyond its own parsing, ms", "CPU beyond its own parsing, without children, ms"
CPU_APART = "CPU of agent, gateway and database, ms"
WALL, WALL_STORED = "wall time, ms", "wall time until all is stored, ms"
WIRE, DELAY, MEMORY = "bytes on the wire", "longest delay, s", "agent's memory, MB"
GROWTHS = {
    CPU_ALL: "CPU in all, 2,000 files against 200",
    CPU_OWN: "CPU beyond its own parsing, 2,000 files against 200",
    CPU_APART: "CPU of agent, gateway and database, 2,000 files against 200",
    STATEMENTS: "SQL statements, 2,000 files against 200",
}


@dataclass(frozen=True)
class Bound:
    """The most that is required, and the most that is aimed at."""

    required: float
    aim: float


BOUNDS = {
    ("unchanged", STATEMENTS): Bound(0.02, 0.005),
    **{("unchanged", name): Bound(0.12, 0.05) for name in (CPU, CPU_OWN)},
    **{(case, name): Bound(1.0, 0.6) for case in ("changed", "cold") for name in (CPU, CPU_OWN)},
    ("unchanged", WIRE): Bound(400, 150),
}
DELAY_BOUND = Bound(5, 5)
MEMORY_BOUND = Bound(120, 70)
GROWTH_BOUND = Bound(1.1, 1.0)


@dataclass(frozen=True)
class Figure:
    """One line of a comparison; values are for one file unless the name says otherwise.

    :param stock: None where stock has no such thing
    :param of_ratio: whether the bound is one of the ratio, not of parsegate's own value
    """

    name: str
    stock: float | None
    parsegate: float
    bound: Bound | None = None
    of_ratio: bool = True

    @property
    def ratio(self) -> float | None:
        return self.parsegate / self.stock if self.stock else None

    @property
    def judged(self) -> float | None:
        """What the bound is one of."""
        return self.ratio if self.of_ratio else self.parsegate

    @property
    def verdict(self) -> str:
        """``aim``, ``required`` or ``missed``; empty where nothing is required."""
        if self.bound is None or self.judged is None:
            return ""
        if self.judged <= self.bound.aim:
            return "aim"
        return "required" if self.judged <= self.bound.required else "missed"


def figures(configuration: Configuration, case: str) -> list[Figure]:
    """The comparison of one case."""
    stock, ours = (configuration.counted(case, side) for side in (STOCK, PARSEGATE))

    def median(name: str, of: Callable[[Turn], float]) -> Figure:
        values = (statistics.median(of(turn) / turn.files for turn in turns) for turns in (stock, ours))
        return Figure(name, *values, bound=BOUNDS.get((case, name)))

    lines = [
        median(STATEMENTS, lambda turn: turn.statements),
        median(COMMITS, lambda turn: turn.commits),
        *(
            Figure(
                name,
                *(cpu_to_store(configuration, case, side, name) for side in (STOCK, PARSEGATE)),
                bound=BOUNDS.get((case, name)),
            )
            for name in (CPU, CPU_OWN, CPU_OWN_OUTSIDE)
        ),
        Figure(CPU_APART, None, statistics.median(_apart(turn) / turn.files * 1000 for turn in ours), of_ratio=False),
        median(CPU_ALL, lambda turn: turn.cpu_seconds * 1000),
        median(WALL, lambda turn: turn.seconds * 1000),
        median(WALL_STORED, lambda turn: (turn.stored_seconds or 0.0) * 1000),
        Figure(
            WIRE,
            None,
            statistics.median((turn.sent + turn.received) / turn.files for turn in ours),
            BOUNDS.get((case, WIRE)),
            of_ratio=False,
        ),
        Figure(
            DELAY,
            largest(turn.delay for turn in stock) or 0.0,
            largest(turn.delay for turn in ours) or 0.0,
            DELAY_BOUND,
            of_ratio=False,
        ),
    ]
    if (memory := largest(turn.agent_memory for turn in configuration.turns)) is not None:
        lines.append(Figure(MEMORY, None, memory / 1e6, MEMORY_BOUND, of_ratio=False))
    return lines


def cpu_to_store(configuration: Configuration, case: str, side: str, name: str = CPU) -> float:
    """Milliseconds of CPU for one file beyond those of parsing alone in the same step; the median of all steps."""
    return statistics.median(cpu_differences(configuration, case, side, name))


def cpu_differences(configuration: Configuration, case: str, side: str, name: str = CPU) -> list[float]:
    """Milliseconds for one file beyond those of parsing alone, step by step.

    :param name: CPU compares both sides with Airflow's own processor that only parses; CPU_OWN each side with its own;
        CPU_OWN_OUTSIDE likewise, without the children that parse
    """
    parsing = PARSEGATE_PARSING if side == PARSEGATE and name != CPU else STOCK_PARSING

    def seconds(turn: Turn) -> float:
        return turn.cpu_seconds - (turn.cpu.get(CHILDREN, 0.0) if name == CPU_OWN_OUTSIDE else 0.0)

    alone = {(turn.round, turn.step): seconds(turn) for turn in configuration.counted(case, parsing)}
    return [
        (seconds(turn) - alone[turn.round, turn.step]) / turn.files * 1000 for turn in configuration.counted(case, side)
    ]


def _apart(turn: Turn) -> float:
    """Seconds of CPU of all but those who parse."""
    return sum(seconds for role, seconds in turn.cpu.items() if role not in (MANAGER, CHILDREN))


def cpu_by_role(configuration: Configuration, case: str, side: str) -> dict[str, float]:
    """Milliseconds for one file by role, medians."""
    turns = configuration.counted(case, side)
    roles = dict.fromkeys(role for turn in turns for role in turn.cpu)
    return {role: statistics.median(turn.cpu.get(role, 0.0) / turn.files * 1000 for turn in turns) for role in roles}


def growths(results: Results, database: str, processors: int, case: str) -> list[Figure]:
    """What storing a file costs with 2,000 files, as a multiple of what it costs with 200; none if not measured."""
    small, large = (results.find(database, files, processors) for files in (200, 2000))
    if small is None or large is None or case not in small.cases or case not in large.cases:
        return []
    before, after = ({figure.name: figure for figure in figures(one, case)} for one in (small, large))
    return [
        Figure(
            title,
            _ratio(after[name].stock, before[name].stock),
            after[name].parsegate / before[name].parsegate,
            GROWTH_BOUND,
            of_ratio=False,
        )
        for name, title in GROWTHS.items()
        if before[name].parsegate > 0
    ]


def _ratio(after: float | None, before: float | None) -> float | None:
    return after / before if after is not None and before else None
