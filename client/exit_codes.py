"""How ``parsegate dag-processor`` ends; :mod:`.launcher` says what the codes mean."""

from __future__ import annotations

EXIT_ENDED = 0
EXIT_FAULT = 1
EXIT_MISCONFIGURED = 2
EXIT_NO_GATEWAY = 3
EXIT_SECRET_VISIBLE = 4
EXIT_STOPPED = 5


class StartRefused(Exception):
    """The processor can't start; the message says why."""

    def __init__(self, exit_code: int, reason: str) -> None:
        super().__init__(reason)
        self.exit_code = exit_code
