"""Imported before httpx, by the agent alone: what httpx then leaves out.

httpx (0.28, ``httpx/__init__.py``) imports its command line program, with rich and pygments, where they are installed;
Airflow brings them. They are an eighth of the agent's memory.
"""

from __future__ import annotations

import sys

COMMAND_LINE = "httpx._main"

# The import system's way to say that there is no such module, for which httpx is prepared.
sys.modules.setdefault(COMMAND_LINE, None)  # pyright: ignore[reportArgumentType, reportCallIssue]
