"""Levels told to Airflow's stats again and again; Prometheus asks for them by itself."""

from __future__ import annotations

import logging
import threading

from .metrics_page import read_levels

logger = logging.getLogger(__name__)

INTERVAL = 10.0
"""Seconds between two reports. Every process of every replica reports the same values, which does no harm."""


class LevelReports(threading.Thread):
    """Reports until the process ends."""

    def __init__(self, interval: float = INTERVAL) -> None:
        super().__init__(name="parsegate-level-reports", daemon=True)
        self._interval = interval
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(self._interval):
            try:
                for level, samples in read_levels().items():
                    level.tell(samples)
            except Exception:  # a statsd client of the deployment's own may raise anything, and the next report may do
                logger.exception("The levels could not be reported to Airflow's stats")

    def stop(self) -> None:
        """Report no more; returns when the last report is done."""
        self._stopped.set()
        self.join()
