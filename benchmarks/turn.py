"""One turn of one side: from the moment that it goes on until everything is stored, and what that took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from measurement import Turn
from sides import BenchmarkFailed, Side

LOOK_INTERVAL = 0.2
MEMORY_INTERVAL = 1.0
PATIENCE = 60.0
PATIENCE_PER_FILE = 1.0
REST = 0.3
"""Seconds that a side may still need when all rows are there: for answers, and for children to be waited for."""


@dataclass
class _Watch:
    """What is seen while the turn goes on."""

    side: Side
    began: datetime
    stored: set[str] = field(default_factory=set)
    delay: float = 0.0
    agent_memory: int | None = None
    _memory_at: float = 0.0

    def look(self) -> None:
        if self.side.stored is not None:
            new = self.side.stored.since(self.began) - self.stored
            now = time.time()
            for dag_id in new:
                self.delay = max(self.delay, now - self.side.setup.folder.parsed_at(dag_id))
            self.stored.update(new)
        if time.monotonic() - self._memory_at > MEMORY_INTERVAL:
            self._memory_at = time.monotonic()
            if (memory := self.side.agent_memory()) is not None:
                self.agent_memory = max(self.agent_memory or 0, memory)


def take_turn(
    side: Side,
    case: str,
    numbers: range,
    *,
    round_number: int,
    step: int,
    counted: bool,
    tell: Callable[[str], None],
) -> Turn:
    """Let a side that is held still go on until it has parsed and stored every one of these files once.

    :param numbers: of the files that are new, touched or changed
    :param tell: is given a line about how far it is
    :raises BenchmarkFailed: a file was not parsed, or more than once, or its result was not stored
    """
    folder = side.setup.folder
    parsed_before = folder.parse_counts()
    cpu, counts, requests = side.cpu(), side.counts.read(), side.request_count
    sent, received = (side.wire.sent, side.wire.received) if side.wire else (0, 0)
    watch = _Watch(side, datetime.now(UTC))
    files = len(numbers)
    deadline = time.monotonic() + PATIENCE + PATIENCE_PER_FILE * files
    side.resume()
    if case == "cold":
        side.look_for_files()
    while True:
        time.sleep(LOOK_INTERVAL)
        watch.look()
        parses = sum(folder.parse_counts().values()) - sum(parsed_before.values())
        stored = len(watch.stored) if side.stored is not None else parses
        tell(f"{parses} of {files} parsed, {stored} stored")
        if parses >= files and stored >= files and not side.is_parsing:
            break
        side.must_be_alive()
        if time.monotonic() > deadline:
            raise BenchmarkFailed(
                f"{side.name}, {case}: {parses} of {files} files were parsed and {stored} stored:\n{side.log[-6000:]}"
            )
    time.sleep(REST)
    side.freeze()
    _must_have_parsed_each_once(side, case, numbers, parsed_before)
    first, last = folder.parse_span(numbers)
    stored_at = side.stored.last_parsed_time() if side.stored is not None else None
    after, statements = side.cpu(), side.counts.read()
    return Turn(
        case=case,
        side=side.name,
        round=round_number,
        step=step,
        counted=counted,
        files=files,
        parses=parses,
        cpu={role: round(seconds - cpu.get(role, 0.0), 3) for role, seconds in after.items()},
        seconds=round(last - first, 3),
        stored_seconds=round(stored_at - first, 3) if stored_at is not None else None,
        statements=statements.statements - counts.statements,
        commits=statements.commits - counts.commits,
        sent=side.wire.sent - sent if side.wire else 0,
        received=side.wire.received - received if side.wire else 0,
        requests=side.request_count - requests,
        agent_memory=watch.agent_memory,
        delay=round(watch.delay, 2) if side.stored is not None else None,
    )


def _must_have_parsed_each_once(side: Side, case: str, numbers: range, before: dict[str, int]) -> None:
    folder = side.setup.folder
    after = folder.parse_counts()
    wanted = dict.fromkeys(folder.dag_ids(numbers), 1)
    odd = {
        dag_id: times
        for dag_id in (*folder.dag_ids(folder.everything), *folder.warm_up_ids)
        if (times := after.get(dag_id, 0) - before.get(dag_id, 0)) != wanted.get(dag_id, 0)
    }
    if odd:
        raise BenchmarkFailed(
            f"{side.name}, {case}: {len(odd)} files were not parsed as often as they should; so often were some of "
            f"them: {dict(list(odd.items())[:5])}"
        )
