"""Put on PYTHONPATH, this counts what a process sends to its database, and on request samples where its CPU time goes.

``PARSEGATE_BENCHMARK_COUNTS`` names a folder for the counts, ``PARSEGATE_BENCHMARK_PROFILE`` one for the samples;
without them nothing happens.
"""

import os
import sys
from collections import Counter

counts = os.environ.get("PARSEGATE_BENCHMARK_COUNTS")
profile = os.environ.get("PARSEGATE_BENCHMARK_PROFILE")
texts: Counter[str] = Counter()

if counts:
    import statement_counter

    statement_counter.install(counts, texts if profile else None)

if profile:
    import cpu_sampler

    cpu_sampler.install(profile, " ".join(sys.orig_argv[1:]), texts)
