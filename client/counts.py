"""How far a DAG processor has come with parsing, and how its manager tells whoever shows it."""

from __future__ import annotations

import os
from contextlib import suppress

import msgspec


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How far parsing has come.

    :param parsed: files that have been parsed as often as they are to be, at most ``total``
    :param total: files that there are
    :param parses: parses that have ended, which goes on growing; the rate comes from it
    :param errors: files whose last parse had import errors, or could not be stored
    """

    parsed: int
    total: int
    parses: int
    errors: int


class CountsFeed:
    """Tells counts through a pipe, and drops them when nobody takes them."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def tell(self, counts: Counts) -> None:
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._descriptor, msgspec.json.encode(counts) + b"\n")

    def close(self) -> None:
        os.close(self._descriptor)
