"""One round of one configuration: the sides start on empty databases and take their turns, case by case."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from airflow_database import AirflowDatabase, AirflowDatabases
from airflow_sides import Stock, StockParsing
from cpu_profile import Profile
from dag_folder import DagFolder
from measurement import Configuration, Turn
from parsegate_sides import Parsegate, ParsegateParsing
from sides import BenchmarkFailed, Setup, Side
from table_comparison import differences
from turn import take_turn

NOT_COMPARED = {
    # Every processor has one, with its host's name; what Airflow's own command logs; what was measured.
    "job": ["*"],
    "log": ["*"],
    "dag": ["last_parse_duration"],
}


class Step(NamedTuple):
    """What each side does in its turn.

    :param numbers: of the files
    :param counted: false to warm up
    """

    case: str
    numbers: range
    counted: bool


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    :param unchanged: passes over unchanged files in each round; a portion goes before them and is not counted
    :param changed: passes over changed files in each round
    :param portions: how many portions of the files such a pass goes over, at most
    """

    cases: tuple[str, ...]
    unchanged: int
    changed: int
    portions: int

    def steps(self, folder: DagFolder) -> Iterator[Step]:
        # What is new is found by looking into the whole folder, so all of it comes at once.
        yield Step("cold", folder.everything, "cold" in self.cases)
        portions = folder.portions()[: self.portions]
        if "unchanged" in self.cases:
            yield Step("unchanged", portions[0], False)
            yield from [Step("unchanged", numbers, True) for _ in range(self.unchanged) for numbers in portions]
        if "changed" in self.cases:
            yield from [Step("changed", numbers, True) for _ in range(self.changed) for numbers in portions]


class Databases:
    """Makes databases of one kind; on PostgreSQL stock and parsegate have a server each, whose CPU time is theirs."""

    def __init__(self, kind: str) -> None:
        _import_airflow_quietly()
        self._stock = AirflowDatabases(kind)  # pyright: ignore[reportArgumentType]
        self._ours = self._stock if kind == "sqlite" else AirflowDatabases(kind)  # pyright: ignore[reportArgumentType]
        # Where nothing is stored.
        self._idle = self._stock if kind == "sqlite" else AirflowDatabases("sqlite")

    @contextmanager
    def fresh(self) -> Iterator[list[AirflowDatabase]]:
        """One for stock, one for parsegate, and two for what parses alone."""
        makers = (self._stock, self._ours, self._idle, self._idle)
        made = [(databases, databases.create()) for databases in makers]
        try:
            yield [database for _, database in made]
        finally:
            for databases, database in made:
                databases.drop(database)

    def close(self) -> None:
        for databases in (self._stock, self._ours, self._idle):
            databases.close()


def _import_airflow_quietly() -> None:
    """Airflow sets up its logging when it is imported; what it logs in this process is none of the contestants'."""
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
    import airflow.settings  # noqa: F401

    # The contestants log as they do by default.
    del os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"]


def run_round(
    databases: Databases,
    configuration: Configuration,
    plan: Plan,
    number: int,
    *,
    tell: Callable[[str], None],
    took: Callable[[Turn], None],
    profile: Profile | None = None,
) -> None:
    """Add the turns of one round to ``configuration``.

    :param tell: is given a line about what goes on
    :param took: is given each turn when it is over
    :raises BenchmarkFailed: the sides did not do the same
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parsegate-benchmark-")))
        folder = DagFolder(directory / "dags", configuration.files, configuration.processors)
        setup = Setup(folder, directory, configuration.parsing_processes, profile.folder if profile else None)
        stock_database, our_database, *idle_databases = stack.enter_context(databases.fresh())
        sides: list[Side] = [
            Stock(setup, stock_database),
            Parsegate(setup, our_database),
            StockParsing(setup, idle_databases[0]),
            ParsegateParsing(setup, idle_databases[1]),
        ]
        with ExitStack() as running:
            for side in sides:
                running.callback(side.stop)
                side.start_and_freeze(tell)
            for step, (case, numbers, counted) in enumerate(plan.steps(folder)):
                if case == "unchanged":
                    folder.touch(numbers)
                else:
                    folder.change(numbers)
                # Who goes first changes, so that a drift of the machine favours nobody.
                for side in sides[step % len(sides) :] + sides[: step % len(sides)]:

                    def line(text: str, side: Side = side, case: str = case) -> None:
                        tell(f"{side.name}, {case}: {text}")

                    with profile.of(side, case, counted) if profile else nullcontext():
                        turn = take_turn(
                            side, case, numbers, round_number=number, step=step, counted=counted, tell=line
                        )
                    configuration.turns.append(turn)
                    took(turn)
                    _must_hold(side, folder)
        tell("comparing the tables")
        if found := differences(stock_database.url, our_database.url, ignoring=NOT_COMPARED):
            raise BenchmarkFailed(
                f"The tables differ ({len(found)} differences):\n" + "\n".join(line[:600] for line in found[:10])
            )


def _must_hold(side: Side, folder: DagFolder) -> None:
    """Every changed DAG is there as its file says."""
    if side.stored is None:
        return
    description = folder.description
    dags = side.stored.count("dag.description = ?", description)
    documents = side.stored.count("CAST(serialized_dag.data AS text) LIKE ?", f'%"{description}"%')
    if not dags == documents == folder.changed_files:
        raise BenchmarkFailed(
            f"{side.name}: of {folder.changed_files} DAGs {dags} rows and {documents} documents have {description!r}."
        )
