"""A trigger that asset watchers of test DAGs wait for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent


class WatchedEvent(BaseEventTrigger):
    """Fires once, for nobody: only its arguments matter."""

    def __init__(self, what: str | None) -> None:
        super().__init__()
        self.what = what

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "watched_events.WatchedEvent", {"what": self.what}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent(self.what)
