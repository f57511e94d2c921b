"""What trouble with the gateway does to the agent: pauses that grow, and two lines in the log."""

from __future__ import annotations

import logging
import random
import time

log = logging.getLogger(__name__)


def jittered(failures: int, first: float = 0.5, longest: float = 10.0) -> float:
    """Seconds to pause: random between zero and a bound that doubles with each failure before, from ``first`` up to
    ``longest``."""
    return random.uniform(0, min(longest, first * 2 ** min(failures, 30)))


class Backoff:
    """Pauses that grow with each failure in a row. Seconds."""

    def __init__(self, first: float = 0.5, longest: float = 10.0) -> None:
        self._first = first
        self._longest = longest
        self._failures = 0

    def pause(self) -> float:
        """The pause after one more failure."""
        seconds = jittered(self._failures, self._first, self._longest)
        self._failures += 1
        return seconds

    def reset(self) -> None:
        self._failures = 0


class Outage:
    """Logs when ``subject`` begins to fail and when it works again, whichever loop notices, and nothing in between.

    A failure of another kind (the gateway answers again, but refuses the token) is told as well.

    :param subject: such as ``The gateway at https://gateway/graphql``
    """

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._since: float | None = None
        self._kind: type[Exception] | None = None
        self._error = ""

    @property
    def lasts(self) -> bool:
        return self._since is not None

    @property
    def reason(self) -> str | None:
        """What failed and why, for a person; None if nothing does."""
        return f"{self._subject} fails: {self._error}" if self.lasts else None

    def failed(self, error: Exception) -> None:
        request_id: str | None = getattr(error, "request_id", None)
        self._error = str(error) if request_id is None else f"{error} (request {request_id})"
        if self._since is None or self._kind is not type(error):
            log.warning("%s fails: %s. Retrying.", self._subject, self._error)
        if self._since is None:
            self._since = time.monotonic()
        self._kind = type(error)

    def succeeded(self, began: float | None = None) -> bool:
        """Note that a request was answered; whether nothing fails any more.

        :param began: when it was sent (``time.monotonic``). What was under way when the outage began may still be
            answered, by a gateway that stops; that says nothing about now.
        """
        if self._since is not None and began is not None and began < self._since:
            return False
        if self._since is not None:
            log.info("%s works again after %.1f s.", self._subject, time.monotonic() - self._since)
            self._since = None
            self._kind = None
        return True
