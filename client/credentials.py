"""The agent's two tokens: the processor token in its file, and the job token that registering with it gives.

The file is read whenever a registration needs it and never kept, so a token that was rotated in place, or put there
late, is simply the one that is used next.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from .transport import GatewayError

_MAX_TOKEN_BYTES = 64 * 1024

_RENEW_AFTER = 0.6
"""Part of a job token's life after which it is renewed."""

_SHORTEST_LIFE = 10.0
"""Seconds; a token that seems to live for less (clocks differ) is not renewed more often than this allows."""


class TokenUnavailable(GatewayError):
    """There is no token in the file, for the reason given; there may be one later."""


def read_token(path: str) -> str:
    """The token in the file.

    :raises TokenUnavailable: the file can't be read, or holds something else
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            content = file.read(_MAX_TOKEN_BYTES + 1)
    except OSError as error:
        raise TokenUnavailable(f"the token file {path} can't be read: {error.strerror}") from error
    try:
        token = content.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise TokenUnavailable(f"the token file {path} holds no token") from error
    if not token or len(content) > _MAX_TOKEN_BYTES or any(character.isspace() for character in token):
        raise TokenUnavailable(f"the token file {path} holds no token")
    return token


@dataclass(frozen=True)
class JobToken:
    """A job token and when to replace it, on the monotonic clock."""

    value: str
    renew_at: float

    @classmethod
    def received(cls, value: str, expires_at: datetime) -> JobToken:
        life = max((expires_at - datetime.now(UTC)).total_seconds(), _SHORTEST_LIFE)
        return cls(value, time.monotonic() + life * _RENEW_AFTER)


class JobCredentials:
    """The current job token, renewed by one caller at a time whoever finds that it must be.

    :param register: registers again with the same registration id, and returns the fresh token
    """

    def __init__(self, token: JobToken, register: Callable[[], Awaitable[JobToken]]) -> None:
        self._token = token
        self._register = register
        self._renewing = asyncio.Lock()

    @property
    def token(self) -> str:
        return self._token.value

    @property
    def renewal_due(self) -> bool:
        return time.monotonic() >= self._token.renew_at

    async def renew(self, refused: str) -> None:
        """Replace the token ``refused``, unless somebody just has. Raises what registering raises."""
        async with self._renewing:
            if self._token.value == refused:
                self._token = await self._register()
