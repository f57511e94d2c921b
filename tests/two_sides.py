"""The same sequence of steps on two databases, and what differs between them after each step.

One database is Airflow's own processor's, the other the gateway's. The clock stands still and is moved by steps alone,
so both sides see the same times and times are compared by value. Ids are compared by what they stand for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import bundle_folders
from airflow_database import AirflowDatabases
from deliveries import Delivery
from gateway_app import Gateway
from parse_steps import Configure, Others, Step, Wait
from processor_sides import GatewaySide, Side, StockSide
from table_comparison import CLOCK_COLUMNS, Rows, comparable, read_tables, table_differences

if TYPE_CHECKING:
    from airflow_database import AirflowDatabase

BEGINNING = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)

MAY_DIFFER: dict[str, set[str]] = {
    # Random, and nobody refers to it: the trace that a run belongs to.
    "dag_run": {"context_carrier"},
    "task_instance": {"context_carrier"},
}
"""By table, the columns that may differ between the two databases.

Besides, the hash of a DAG with a deadline is a digest of random ids (``table_comparison``). Tables of parsegate's own
are not Airflow's and are not compared."""

RUN_CLOCKS = [
    ("dag_run", {"context_carrier", "start_date", "end_date", "created_at", "updated_at"}),
    ("task_instance", {"context_carrier", "updated_at"}),
]
"""As CLOCK_COLUMNS of ``table_comparison``, for tables that no parse writes to."""

NOT_THE_PROCESSORS = (Wait, Configure, Others)
"""Steps that are the same code on both sides: what they leave is compared after the next step."""

Snapshot = dict[str, Rows]
"""Rows by table after a step; nothing after a step that is not looked at."""


class Different(AssertionError):
    """The two databases differ."""


@dataclass
class TwoSides:
    """Takes sequences of steps on both sides, each sequence on fresh databases.

    :param deliveries: how the parsegate side delivers results, one way after the other
    :param serve: makes the gateway of a database
    :param clock_stands_still: False when the gateway's clock can't be stopped; times of writing are then left out
    :param options: of Airflow's configuration on both sides, as ``SECTION__KEY``
    :param in_order_of_recording: whether stock stores the results of one step in the order in which the gateway
        recorded them, which has those that are unchanged first; else in the order in which they were parsed
    :param known: what stock left after each step of sequences that were run before, by their representation;
        None remembers nothing
    """

    databases: AirflowDatabases
    deliveries: Sequence[Delivery]
    serve: Callable[[AirflowDatabase], AbstractContextManager[Any]]
    options: dict[str, str] = field(default_factory=dict)
    clock_stands_still: bool = True
    in_order_of_recording: bool = False
    known: dict[str, list[Snapshot]] | None = field(default=None, repr=False)

    def run(self, *steps: Step) -> None:
        """Take these steps on each side.

        :raises Different: naming the first step after which the databases differ, and the differences
        """
        known = {} if self.known is None else self.known
        for deliver in self.deliveries:
            orders: list[list[int]] = []
            actual = list(self._taken(steps, partial(self._gateway, deliver, orders)))
            sequence = repr((orders, steps) if self.in_order_of_recording else steps)
            if sequence not in known:
                known[sequence] = list(self._taken(steps, partial(self._stock, orders)))
            _compare(steps, known[sequence], actual, deliver)

    @property
    def environment(self) -> dict[str, str]:
        """``options`` as environment variables."""
        return {f"AIRFLOW__{name.upper()}": value for name, value in self.options.items()}

    def _may_differ(self) -> dict[str, set[str]]:
        if self.clock_stands_still:
            return MAY_DIFFER
        return {name: MAY_DIFFER.get(name, set()) | columns for name, columns in [*CLOCK_COLUMNS.items(), *RUN_CLOCKS]}

    @contextmanager
    def _stock(self, orders: list[list[int]], database: AirflowDatabase) -> Generator[Side]:
        yield StockSide(iter(orders) if self.in_order_of_recording else None)

    @contextmanager
    def _gateway(self, deliver: Delivery, orders: list[list[int]], database: AirflowDatabase) -> Generator[Side]:
        with self.serve(database) as gateway:
            yield GatewaySide(gateway, deliver, orders)

    def _taken(
        self, steps: Sequence[Step], start: Callable[[AirflowDatabase], AbstractContextManager[Side]]
    ) -> Generator[Snapshot]:
        import time_machine
        from airflow import settings

        database = self.databases.create()
        with (
            _environment(self.environment),
            database.in_use(),
            time_machine.travel(BEGINNING if self.clock_stands_still else datetime.now(UTC), tick=False) as clock,
            _heard() as heard,
        ):
            bundle_folders.remove()
            with start(database) as side, side.at_the_end:
                side.sync_bundles(("dags", "more"))
                for step in steps:
                    # A second between steps: what is ordered by time has an order.
                    clock.shift(1)
                    told = step.take(side, clock)
                    if isinstance(step, NOT_THE_PROCESSORS) and step is not steps[-1]:
                        yield {}
                        continue
                    with settings.get_engine().connect() as connection:
                        tables = read_tables(connection)
                    snapshot = comparable(tables, ignoring=self._may_differ())
                    snapshot["what the processor was told"] = [{"answer": told}]
                    if self.clock_stands_still:  # a process of its own has listeners of its own
                        # Of the files of one step, in whatever order: processes end in any.
                        snapshot["what listeners heard"] = [{"call": call} for call in sorted(heard)]
                        heard.clear()
                    yield snapshot
        self.databases.drop(database)


def _compare(steps: Sequence[Step], expected: list[Snapshot], actual: list[Snapshot], deliver: Delivery) -> None:
    for number, (step, one, other) in enumerate(zip(steps, expected, actual, strict=True)):
        if lines := [line for table in one for line in table_differences(table, one[table], other[table])]:
            taken = "".join(f"\n  {step!r}" for step in steps[:number])
            raise Different(
                f"Delivered {deliver.__name__}, after {step!r}:\n" + "\n".join(lines) + f"\nBefore it came:{taken}"
            )


@contextmanager
def in_process(database: AirflowDatabase) -> Generator[Gateway]:
    """The gateway's application in this process, behind its HTTP interface, without a socket."""
    gateway = Gateway(database)
    try:
        yield gateway
    finally:
        gateway.close()


@contextmanager
def _environment(variables: dict[str, str]) -> Generator[None]:
    """With these variables, and with everything that steps set undone afterwards."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _heard() -> Generator[list[tuple[str, str, str]]]:
    """What listeners of import errors hear."""
    from airflow.listeners.listener import get_listener_manager

    listener = _Listener()
    get_listener_manager().add_listener(listener)
    try:
        yield listener.calls
    finally:
        get_listener_manager().pm.unregister(listener)


class _Listener:
    def __init__(self) -> None:
        from airflow.listeners import hookimpl

        self.calls: list[tuple[str, str, str]] = []
        calls = self.calls

        @hookimpl
        def on_new_dag_import_error(filename: str, stacktrace: str) -> None:
            calls.append(("new", filename, stacktrace))

        @hookimpl
        def on_existing_dag_import_error(filename: str, stacktrace: str) -> None:
            calls.append(("existing", filename, stacktrace))

        self.on_new_dag_import_error = on_new_dag_import_error
        self.on_existing_dag_import_error = on_existing_dag_import_error
