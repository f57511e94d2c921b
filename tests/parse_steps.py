"""Steps of a sequence that two databases go through: what a processor does, and what happens around it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import other_writers
from bundle_folders import FOLDER
from dag_content import FileContent
from processor_sides import Side

if TYPE_CHECKING:
    import time_machine


class Step(Protocol):
    """One step; it may be taken any number of times, on either side."""

    def take(self, side: Side, clock: time_machine.Traveller) -> object:
        """What the processor is told, if it is told anything that must be the same on both sides."""
        ...


@dataclass(frozen=True, init=False, repr=False)
class Parse:
    """These files are parsed, and their results stored, in order."""

    files: tuple[FileContent, ...]

    def __init__(self, *files: FileContent) -> None:
        object.__setattr__(self, "files", files)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.files))})"

    def take(self, side: Side, clock: time_machine.Traveller) -> object:
        from airflow._shared.timezones.timezone import utcnow

        reasons = side.store([file.parsed(FOLDER, utcnow()) for file in self.files])
        return ["not stored" if reason else "stored" for reason in reasons]


class Again(Parse):
    """These files are parsed again with the same results, in a world in which that changes nothing but times.

    Nothing of it is needed in full, or else the short way is not the one that a test speaks of.
    """

    def take(self, side: Side, clock: time_machine.Traveller) -> object:
        told = super().take(side, clock)
        assert not side.wanted, f"needed in full: {side.wanted}"
        return told


@dataclass(frozen=True)
class TimeOut:
    """Parsing the file takes too long."""

    file: FileContent

    def take(self, side: Side, clock: time_machine.Traveller) -> None:
        from airflow._shared.timezones.timezone import utcnow

        side.time_out(self.file.parsed(FOLDER, utcnow()))


@dataclass(frozen=True)
class Wait:
    """Time goes by."""

    seconds: float

    def take(self, side: Side, clock: time_machine.Traveller) -> None:
        clock.shift(self.seconds)


@dataclass(frozen=True)
class Reconcile:
    """The bundle's folder is listed: it has these files."""

    bundle: str
    paths: tuple[str, ...]

    def take(self, side: Side, clock: time_machine.Traveller) -> None:
        side.reconcile(self.bundle, self.paths)


@dataclass(frozen=True)
class DeactivateStale:
    def take(self, side: Side, clock: time_machine.Traveller) -> None:
        side.deactivate_stale()


@dataclass(frozen=True)
class PurgeWarnings:
    def take(self, side: Side, clock: time_machine.Traveller) -> None:
        side.purge_warnings()


def parsed_twice(*files: FileContent) -> tuple[Step, Step]:
    """What happened before may count at the first parse; by the second nothing is new."""
    return Parse(*files), Again(*files)


class InFull(Parse):
    """These files are parsed, and nothing that is known of them makes up for their results."""

    def take(self, side: Side, clock: time_machine.Traveller) -> object:
        told = super().take(side, clock)
        if side.wanted is not None:
            unexpected = {file.path for file in self.files} - set(side.wanted)
            assert not unexpected, f"not needed in full: {unexpected}"
        return told


@dataclass(frozen=True)
class SyncBundles:
    """The processor's bundles are these, and some of them belong to teams."""

    names: tuple[str, ...]
    teams: tuple[tuple[str, str], ...] = ()

    def take(self, side: Side, clock: time_machine.Traveller) -> None:
        side.sync_bundles(self.names, dict(self.teams))


@dataclass(frozen=True)
class Restart:
    """The processor starts anew."""

    def take(self, side: Side, clock: time_machine.Traveller) -> None:
        side.restart()


@dataclass(frozen=True)
class Refresh:
    """The bundle was refreshed, and is at this version now."""

    bundle: str
    version: str | None = None

    def take(self, side: Side, clock: time_machine.Traveller) -> None:
        side.refreshed(self.bundle, self.version)


@dataclass(frozen=True, init=False)
class Configure:
    """``airflow.cfg`` changes: options as ``SECTION__KEY``."""

    options: tuple[tuple[str, str], ...]

    def __init__(self, **options: str) -> None:
        object.__setattr__(self, "options", tuple(options.items()))

    def take(self, side: Side, clock: time_machine.Traveller) -> None:
        os.environ.update({f"AIRFLOW__{name.upper()}": value for name, value in self.options})


@dataclass(frozen=True, init=False, repr=False)
class Others:
    """Somebody else writes: a function of :mod:`other_writers`, with its arguments."""

    make: Callable[..., other_writers.Writer]
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __init__(self, make: Callable[..., other_writers.Writer], *arguments: Any, **options: Any) -> None:
        for name, value in (("make", make), ("arguments", arguments), ("options", options)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        words = [repr(argument) for argument in self.arguments]
        words += [f"{name}={value!r}" for name, value in self.options.items()]
        return f"Others({self.make.__name__}, {', '.join(words)})"

    def take(self, side: Side, clock: time_machine.Traveller) -> None:
        from airflow.utils.session import create_session

        with create_session() as session:
            self.make(*self.arguments, **self.options)(session)


@dataclass(frozen=True)
class Interrupted:
    """The database interrupts a step: each statement that ``matches`` fails, as often as ``times`` says.

    :param matches: a piece of the statement or, for values, of its parameters
    """

    step: Step
    matches: str
    times: int = 1

    def take(self, side: Side, clock: time_machine.Traveller) -> object:
        from airflow import settings
        from sqlalchemy import event
        from sqlalchemy.exc import OperationalError

        left = self.times

        def interrupt(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            nonlocal left
            if left and (self.matches in statement or self.matches in repr(parameters)):
                left -= 1
                raise OperationalError(statement, None, Exception("database is locked"))

        event.listen(settings.get_engine(), "before_cursor_execute", interrupt)
        try:
            told = self.step.take(side, clock)
        finally:
            event.remove(settings.get_engine(), "before_cursor_execute", interrupt)
        assert left < self.times, f"No statement had {self.matches!r} in it."
        return told


@dataclass(frozen=True)
class OnOneSide:
    """The sides take different steps, where parsegate deviates: None takes none.

    :param answer: what the gateway answers
    """

    stock: Step | None = None
    gateway: Step | None = None
    answer: object = None

    def take(self, side: Side, clock: time_machine.Traveller) -> None:
        step = self.stock if side.is_stock else self.gateway
        if step is not None:
            answer = step.take(side, clock)
            assert side.is_stock or self.answer is None or answer == self.answer, answer
