"""Where the CPU time of one side's processes goes: switches the samplers on for its turns and sums up what they saw."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sides import Side

SWITCH = "switch"
WRITTEN_AFTER = 0.5
OURS = ("parsegate.", "airflow.", "__main__.")


class Profile:
    """Samples of the turns of one side in one case, in ``folder``.

    ``<process>-<pid>.folded`` has lines ``frame;frame;frame microseconds``, as flame graphs are made from;
    ``<process>-<pid>.statements`` the SQL statements of each turn, each with how often.
    """

    def __init__(self, folder: Path, side: str, case: str) -> None:
        self.folder = folder
        self._wanted = (side, case)
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("*.folded"), *folder.glob("*.statements")):
            old.unlink()
        (folder / SWITCH).write_bytes(b"\0")

    @contextmanager
    def of(self, side: Side, case: str, counted: bool) -> Iterator[None]:
        """Sample what happens in this block if it is a turn that is wanted."""
        if (side.name, case) != self._wanted or not counted:
            yield
            return
        self._switch(on=True)
        try:
            yield
        finally:
            self._switch(on=False)
            # The processes stand still by now, and each writes what it has when it sees the switch.
            side.resume()
            time.sleep(WRITTEN_AFTER)
            side.freeze()

    def _switch(self, *, on: bool) -> None:
        with (self.folder / SWITCH).open("r+b") as file:
            file.write(b"\1" if on else b"\0")

    def summary(self, functions: int = 20) -> str:
        """By process, what used most CPU time: functions by themselves, ours and Airflow's with all their calls."""
        parts = [_summary(path, functions) for path in sorted(self.folder.glob("*.folded"))]
        parts += [_statements(path) for path in sorted(self.folder.glob("*.statements")) if path.stat().st_size]
        return "\n".join(parts)


def _summary(path: Path, functions: int) -> str:
    own: Counter[str] = Counter()
    with_calls: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        stack, _, microseconds = line.rpartition(" ")
        frames = stack.split(";")
        own[frames[-1]] += int(microseconds)
        for frame in set(frames):
            with_calls[frame] += int(microseconds)
    ours = Counter({name: spent for name, spent in with_calls.items() if name.startswith(OURS)})
    total = sum(own.values())
    if not total:
        return f"{path.stem}: no CPU time"
    lines = [f"{path.stem}: {total / 1e6:.2f} s of CPU time", f"  {'own':>6} {'all':>6}  function"]
    shown = dict(own.most_common(functions)) | dict(ours.most_common(functions))
    for name in sorted(shown, key=lambda name: (-with_calls[name], -own[name])):
        lines.append(f"  {own[name] / total:6.1%} {with_calls[name] / total:6.1%}  {name}")
    return "\n".join(lines)


def _statements(path: Path) -> str:
    numbers: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        number, _, text = line.partition(" ")
        numbers[text] += int(number)
    lines = [f"  {number:6}  {text[:150]}" for text, number in numbers.most_common(25)]
    return "\n".join([f"{path.stem}: {sum(numbers.values())} SQL statements", *lines])
