"""Many values for a statement, a bounded number at a time: databases limit the parameters of a statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PARAMETERS = 1000

T = TypeVar("T")


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """``values`` in order, at most ``PARAMETERS`` at a time; nothing when there are none."""
    for start in range(0, len(values), PARAMETERS):
        yield values[start : start + PARAMETERS]
