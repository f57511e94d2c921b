"""One round of one configuration: the sides start on empty databases and take their turns, case by case."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from airflow_database import AirflowDatabase, AirflowDatabases
from cpu_profile import Profile
from dag_folder import DagFolder
from measurement import Configuration, Turn
from sides import BenchmarkFailed, Parsegate, ParseOnly, Setup, Side, Stock
from table_comparison import differences
from turn import take_turn

NOT_COMPARED = {
    # Every processor has one, with its host's name; what Airflow's own command logs; what was measured.
    "job": ["*"],
    "log": ["*"],
    "dag": ["last_parse_duration"],
}


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    :param unchanged: passes over unchanged files in each round; one more goes before them and is not counted
    :param changed: passes over changed files in each round
    """

    cases: tuple[str, ...]
    unchanged: int
    changed: int

    def steps(self) -> Iterator[tuple[str, bool]]:
        """Case of each step, and whether it counts."""
        yield "cold", "cold" in self.cases
        if "unchanged" in self.cases:
            yield "unchanged", False
            yield from [("unchanged", True)] * self.unchanged
        if "changed" in self.cases:
            yield from [("changed", True)] * self.changed


class Databases:
    """Makes databases of one kind; on PostgreSQL stock and parsegate have a server each, whose CPU time is theirs."""

    def __init__(self, kind: str) -> None:
        _import_airflow_quietly()
        self._stock = AirflowDatabases(kind)  # pyright: ignore[reportArgumentType]
        self._ours = self._stock if kind == "sqlite" else AirflowDatabases(kind)  # pyright: ignore[reportArgumentType]
        # A database that Airflow is started on and then leaves alone.
        self._idle = self._stock if kind == "sqlite" else AirflowDatabases("sqlite")

    @contextmanager
    def fresh(self) -> Iterator[tuple[AirflowDatabase, AirflowDatabase, AirflowDatabase]]:
        """One for stock, one for parsegate, one for parsing alone."""
        made = [(databases, databases.create()) for databases in (self._stock, self._ours, self._idle)]
        try:
            yield tuple(database for _, database in made)
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
        stock_database, our_database, idle_database = stack.enter_context(databases.fresh())
        sides = [Stock(setup, stock_database), Parsegate(setup, our_database), ParseOnly(setup, idle_database)]
        with ExitStack() as running:
            for starting in (sides[:2], sides[2:]):
                for side in starting:
                    running.callback(side.stop)
                    tell(f"starting {side.name}")
                    side.start()
                for side in starting:
                    side.wait_until_ready()
                    side.freeze()
            for step, (case, counted) in enumerate(plan.steps()):
                if case == "unchanged":
                    folder.touch()
                else:
                    folder.change()
                # Who goes first changes, so that a drift of the machine favours nobody.
                for side in sides[step % 3 :] + sides[: step % 3]:

                    def line(text: str, side: Side = side, case: str = case) -> None:
                        tell(f"{side.name}, {case}: {text}")

                    with profile.of(side, case, counted) if profile else ExitStack():
                        turn = take_turn(side, case, round_number=number, step=step, counted=counted, tell=line)
                    configuration.turns.append(turn)
                    took(turn)
                    _must_hold(side, folder)
        tell("comparing the tables")
        if found := differences(stock_database.url, our_database.url, ignoring=NOT_COMPARED):
            raise BenchmarkFailed(
                f"The tables differ ({len(found)} differences):\n" + "\n".join(line[:600] for line in found[:10])
            )


def _must_hold(side: Side, folder: DagFolder) -> None:
    """Every DAG is there as its file says: none was left as it was before a change."""
    if side.stored is None:
        return
    description = folder.description
    dags = side.stored.count("dag.description = ?", description)
    documents = side.stored.count("CAST(serialized_dag.data AS text) LIKE ?", f'%"{description}"%')
    if not dags == documents == folder.files:
        raise BenchmarkFailed(
            f"{side.name}: of {folder.files} DAGs {dags} rows and {documents} documents have {description!r}."
        )
