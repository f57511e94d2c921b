"""``parsegate``, but its manager hands no result of a parse to its agent. Arguments are those of ``parsegate``.

What it costs is what parsing costs with parsegate's manager.
"""

from __future__ import annotations

import sys
from typing import Any

from parsegate.client.cli import main
from parsegate.client.manager import GatewayDagFileProcessorManager


def nothing(*_: Any, **__: Any) -> None:
    """In place of what hands a result over."""


if __name__ == "__main__":
    assert "persist_parsing_result" in vars(GatewayDagFileProcessorManager)
    GatewayDagFileProcessorManager.persist_parsing_result = nothing
    sys.exit(main())
