"""Runs the benchmark; see command.py."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # The processes are started as the end-to-end tests start them.
    sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

    from command import main

    sys.exit(main())
