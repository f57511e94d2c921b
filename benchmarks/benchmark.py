"""Runs the benchmark; see command.py."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # The processes are started as the end-to-end tests start them.
    sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
    # Before anything that imports Airflow: it gives this process an AIRFLOW_HOME of its own.
    import airflow_database  # noqa: F401

    # Airflow sets up its logging when it is imported; what it logs in this process is none of the contestants'.
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
    import airflow  # noqa: F401

    del os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"]

    from command import main

    sys.exit(main())
