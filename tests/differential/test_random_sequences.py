"""Sequences that nobody thought of.

In the normal run they are few and always the same. ``PARSEGATE_DIFFERENTIAL_EXAMPLES=500`` looks at as many new ones;
what fails is printed as it was made up, shortened as far as it goes on failing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest
from deliveries import Delivery, fingerprint_first, in_full
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from parse_steps import Step
from parsed_files import ParsedFile
from random_sequences import sequences
from registered_processor import RegisteredProcessor
from two_sides import TwoSides

EXAMPLES = os.environ.get("PARSEGATE_DIFFERENTIAL_EXAMPLES")
FEW = 14

if EXAMPLES is not None:
    # As long as it takes.
    pytestmark = pytest.mark.timeout(0)


def test_random_sequences(two_sides: TwoSides) -> None:
    is_recognized: list[bool] = []

    def by_fingerprint(
        processor: RegisteredProcessor, files: Sequence[ParsedFile], sequence: int
    ) -> list[dict[str, Any]]:
        outcomes = fingerprint_first(processor, files, sequence)
        # A file without DAGs is recognized easily, and nothing much is left to be done for it.
        is_recognized.extend(
            not outcome["wanted"] and bool(file.result["serialized_dags"])
            for file, outcome in zip(files, outcomes, strict=True)
        )
        return outcomes

    two_sides.in_order_of_recording = True

    @settings(
        max_examples=int(EXAMPLES or FEW),
        derandomize=EXAMPLES is None,
        database=None,
        deadline=None,
        # Shrinking runs an example hundreds of times: worth it when somebody is looking for something.
        phases=[Phase.generate] if EXAMPLES is None else [Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(
        steps=sequences(longest=8), deliver=st.sampled_from([by_fingerprint, by_fingerprint, by_fingerprint, in_full])
    )
    def run(steps: list[Step], deliver: Delivery) -> None:
        two_sides.deliveries = (deliver,)
        two_sides.run(*steps)

    run()
    # Or else all of it was about the long way. How many are recognized in one run depends on chance: mostly three in
    # ten. So few do not, unless there were hardly any sequences.
    if int(EXAMPLES or FEW) >= FEW:
        assert is_recognized.count(True) > len(is_recognized) / 20, (is_recognized.count(True), len(is_recognized))
