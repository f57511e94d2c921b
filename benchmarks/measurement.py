"""What was measured, as it is kept in results.json."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

CASES = ("cold", "unchanged", "changed")
STOCK, PARSEGATE = "stock", "parsegate"
STOCK_PARSING, PARSEGATE_PARSING = "stock, parsing alone", "parsegate, parsing alone"
SIDES = (STOCK, STOCK_PARSING, PARSEGATE, PARSEGATE_PARSING)
MANAGER = "manager"
CHILDREN = "children"
"""The role of the processes that parse."""


@dataclass
class Turn:
    """What one side did in one step. Sums are over all files of the step and all processes.

    :param case: of CASES
    :param round: which round of the configuration
    :param step: which step of the round; the sides take their turns in the same step
    :param counted: false for one that only warms up
    :param files: how many were new, touched or changed
    :param parses: how many were parsed, each once
    :param cpu: seconds by role
    :param seconds: from the end of the first parse to the end of the last one
    :param stored_seconds: from there to the time of the last result in the database
    :param sent: bytes from the agents to the gateway
    :param requests: HTTP requests
    :param agent_memory: the largest PSS that an agent had, in bytes
    :param delay: seconds, at most, from the end of a parse until its time was seen in the database
    """

    case: str
    side: str
    round: int
    step: int
    counted: bool
    files: int
    parses: int
    cpu: dict[str, float]
    seconds: float
    stored_seconds: float | None = None
    statements: int = 0
    commits: int = 0
    sent: int = 0
    received: int = 0
    requests: int = 0
    agent_memory: int | None = None
    delay: float | None = None

    @property
    def cpu_seconds(self) -> float:
        return sum(self.cpu.values())


@dataclass
class Configuration:
    """One database, number of files and number of processors, with all its turns."""

    database: str
    files: int
    processors: int
    parsing_processes: int
    turns: list[Turn] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, int, int]:
        return self.database, self.files, self.processors

    def counted(self, case: str, side: str) -> list[Turn]:
        return [turn for turn in self.turns if turn.counted and turn.case == case and turn.side == side]

    @property
    def cases(self) -> list[str]:
        return [case for case in CASES if self.counted(case, PARSEGATE)]


@dataclass
class Results:
    """Everything that a document is made from.

    :param environment: machine and versions, by name, as they are shown
    """

    environment: dict[str, str]
    configurations: list[Configuration] = field(default_factory=list)

    def put(self, configuration: Configuration) -> None:
        """Add one; it takes the place of what was measured for the same before."""
        self.configurations = [one for one in self.configurations if one.key != configuration.key] + [configuration]
        self.configurations.sort(key=lambda one: (one.database != "sqlite", one.files, one.processors))

    def find(self, database: str, files: int, processors: int) -> Configuration | None:
        return next((one for one in self.configurations if one.key == (database, files, processors)), None)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Results:
        document: dict[str, Any] = json.loads(path.read_text())
        return cls(
            document["environment"],
            [
                Configuration(**{**one, "turns": [Turn(**turn) for turn in one["turns"]]})
                for one in document["configurations"]
            ],
        )


def largest(values: Iterable[float | int | None]) -> float | None:
    """The largest of those that there are."""
    return max((value for value in values if value is not None), default=None)
