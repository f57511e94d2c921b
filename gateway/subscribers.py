"""What subscribers may take: how many connections and subscriptions each, and how long they may be slow or silent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from . import settings

if TYPE_CHECKING:
    from ..resolvers.principal import Principal


class TooManyConnections(Exception):
    """A caller who has all the connections already that one may have."""


@dataclass(frozen=True)
class SubscriberLimits:
    """The settings of subscriptions, as :mod:`parsegate.gateway.settings` describes them; seconds and bytes."""

    connections: int
    subscriptions: int
    message_bytes: int
    init_timeout: float
    send_timeout: float
    keep_alive: float

    @classmethod
    def configured(cls) -> SubscriberLimits:
        return cls(
            connections=settings.MAX_CONNECTIONS_PER_CALLER.read(),
            subscriptions=settings.MAX_SUBSCRIPTIONS_PER_CONNECTION.read(),
            message_bytes=settings.MAX_MESSAGE_BYTES.read(),
            init_timeout=settings.CONNECTION_INIT_TIMEOUT.read(),
            send_timeout=settings.SUBSCRIBER_SEND_TIMEOUT.read(),
            keep_alive=settings.SUBSCRIBER_KEEP_ALIVE.read(),
        )


class Subscribers:
    """Those of one gateway process, who is used on its event loop alone.

    :param limits: what each may take
    """

    def __init__(self, limits: SubscriberLimits) -> None:
        self.limits = limits
        self._connections: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def connected(self, principal: Principal) -> Generator[None]:
        """Counts one connection of ``principal`` meanwhile.

        :raises TooManyConnections: that is one too many
        """
        caller = (principal.kind.value, principal.subject)
        if self._connections[caller] >= self.limits.connections:
            raise TooManyConnections(
                f"{principal.subject} has {self.limits.connections} connections for events already, which is all that "
                "[parsegate] max_connections_per_caller allows."
            )
        self._connections[caller] += 1
        try:
            yield
        finally:
            self._connections[caller] -= 1
            if not self._connections[caller]:
                del self._connections[caller]


def seconds_left(principal: Principal) -> float | None:
    """Seconds until the caller's token expires; None when nobody knows."""
    if principal.expires_at is None:
        return None
    return max(0.0, (principal.expires_at - datetime.now(UTC)).total_seconds())
