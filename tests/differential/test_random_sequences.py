"""Sequences that nobody thought of.

In the normal run they are few and always the same. ``PARSEGATE_DIFFERENTIAL_EXAMPLES=500`` looks at as many new ones;
what fails is printed as it was made up, shortened as far as it goes on failing.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, given, settings
from random_sequences import sequences
from two_sides import TwoSides

EXAMPLES = os.environ.get("PARSEGATE_DIFFERENTIAL_EXAMPLES")


@settings(
    max_examples=int(EXAMPLES or 12),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    # Shrinking runs an example hundreds of times: worth it when somebody is looking for something.
    phases=[Phase.explicit, Phase.generate] if EXAMPLES is None else [Phase.explicit, Phase.generate, Phase.shrink],
    # The fixture makes fresh databases for each sequence.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(steps=sequences(longest=12))
def test_a_random_sequence(two_sides: TwoSides, steps: list) -> None:
    two_sides.in_order_of_recording = True
    two_sides.run(*steps)
