"""Sequences that nobody thought of.

In the normal run they are few and always the same. ``PARSEGATE_DIFFERENTIAL_EXAMPLES=500`` looks at as many new ones;
what fails is printed as it was made up, shortened as far as it goes on failing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from deliveries import fingerprint_first
from hypothesis import HealthCheck, Phase, given, settings
from parsed_files import ParsedFile
from random_sequences import sequences
from registered_processor import RegisteredProcessor
from two_sides import TwoSides

EXAMPLES = os.environ.get("PARSEGATE_DIFFERENTIAL_EXAMPLES")


def test_random_sequences(two_sides: TwoSides) -> None:
    is_wanted: list[bool] = []

    def deliver(processor: RegisteredProcessor, files: Sequence[ParsedFile], sequence: int) -> list[dict[str, Any]]:
        outcomes = fingerprint_first(processor, files, sequence)
        is_wanted.extend(outcome["wanted"] for outcome in outcomes)
        return outcomes

    two_sides.deliveries = (deliver,)
    two_sides.in_order_of_recording = True

    @settings(
        max_examples=int(EXAMPLES or 14),
        derandomize=EXAMPLES is None,
        database=None,
        deadline=None,
        # Shrinking runs an example hundreds of times: worth it when somebody is looking for something.
        phases=[Phase.generate] if EXAMPLES is None else [Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(steps=sequences(longest=8))
    def run(steps: list) -> None:
        two_sides.run(*steps)

    run()
    # Or else most of it was about the long way alone.
    assert is_wanted.count(True) < len(is_wanted) / 2, (is_wanted.count(True), len(is_wanted))
