"""Put on PYTHONPATH, this counts what a process sends to its database, and on request samples where its CPU time goes.

``PARSEGATE_BENCHMARK_COUNTS`` names a folder for the counts, ``PARSEGATE_BENCHMARK_PROFILE`` one for the samples;
without them nothing happens.
"""

import os
import sys

if folder := os.environ.get("PARSEGATE_BENCHMARK_COUNTS"):
    import statement_counter

    statement_counter.install(folder)

if folder := os.environ.get("PARSEGATE_BENCHMARK_PROFILE"):
    import cpu_sampler

    cpu_sampler.install(folder, " ".join(sys.orig_argv[1:]))
