"""Reads what the processes of one side have counted (instruments/statement_counter.py)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple


class Statements(NamedTuple):
    """What the database got: statements, and commits beside them."""

    statements: int
    commits: int


class StatementCounts:
    """The sum over all processes that count into ``folder``, ended ones too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> Statements:
        counts = [struct.unpack("=QQ", path.read_bytes()) for path in self.folder.glob("counts-*")]
        return Statements(sum(one for one, _ in counts), sum(one for _, one in counts))
