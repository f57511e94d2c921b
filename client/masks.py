"""Secrets that Airflow's masker learns while a child runs, and their end.

The manager masks what a file's code reads, so that the file's log shows ``***``. Airflow keeps those patterns for good;
in a process that forks, every later file's code would inherit them. Here each belongs to the child that brought it.
Airflow also compiles all patterns anew for each one that is added, so that a child that masks thousands of values holds
up the loop; here only the last few are compiled again, and only when a line is to be masked.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from airflow.sdk._shared.secrets_masker import _secrets_masker  # pyright: ignore[reportPrivateUsage]

_CHUNK = 64


class _Patterns:
    """One owner's patterns, compiled in small groups."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self._groups: list[list[str]] = []
        self._compiled: list[re.Pattern[str] | None] = []

    def add(self, pattern: str) -> None:
        if pattern in self.known:
            return
        self.known.add(pattern)
        if not self._groups or len(self._groups[-1]) >= _CHUNK:
            self._groups.append([])
            self._compiled.append(None)
        self._groups[-1].append(pattern)
        self._compiled[-1] = None

    def sub(self, replacement: str, text: str) -> str:
        for position, group in enumerate(self._groups):
            if (compiled := self._compiled[position]) is None:
                compiled = self._compiled[position] = re.compile("|".join(group))
            text = compiled.sub(replacement, text)
        return text


_learned: dict[int, _Patterns] = {}


class _Replacer:
    """In place of the masker's one regular expression, of which it only calls ``sub``."""

    def __init__(self, lasting: re.Pattern[str] | None) -> None:
        self.lasting = lasting

    def sub(self, replacement: str, text: str) -> str:
        if self.lasting is not None:
            text = self.lasting.sub(replacement, text)
        for patterns in _learned.values():
            text = patterns.sub(replacement, text)
        return text


@contextmanager
def learned_by(owner: int) -> Generator[None]:
    """What the masker learns within belongs to this owner (a child's pid)."""
    masker: Any = _secrets_masker()
    lasting, replacer = masker.patterns, masker.replacer
    # Airflow's masker skips what it knows already, so it starts from nothing to show what this owner brings.
    masker.patterns = set()
    try:
        yield
    finally:
        new, masker.patterns, masker.replacer = masker.patterns - lasting, lasting, replacer
        if new:
            patterns = _learned.setdefault(owner, _Patterns())
            for pattern in new:
                patterns.add(pattern)
            if not isinstance(replacer, _Replacer):
                masker.replacer = _Replacer(replacer)


def forget(owner: int) -> None:
    """The owner has ended, and what it brought is masked no longer."""
    if _learned.pop(owner, None) is not None:
        # The re module's cache holds the patterns' text.
        re.purge()


def forget_all() -> None:
    """In a fresh child: drop what its siblings have brought."""
    if _learned:
        _learned.clear()
        re.purge()
    masker: Any = _secrets_masker()
    if isinstance(masker.replacer, _Replacer):
        # Airflow may compile here as it likes; a child has its own patterns only.
        masker.replacer = masker.replacer.lasting
