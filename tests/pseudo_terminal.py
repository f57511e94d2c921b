"""A real pseudo terminal, and what somebody who looks at it would have seen."""

from __future__ import annotations

import os
import re
import threading
from contextlib import suppress

_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class PseudoTerminal:
    """``descriptor`` is what a process under test is started on."""

    def __init__(self) -> None:
        self._master, self.descriptor = os.openpty()
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):
            while data := os.read(self._master, 65536):
                self._written += data

    def close(self) -> None:
        """To be called when the process under test has ended; the rest is read."""
        os.close(self.descriptor)
        self._reader.join(10)
        os.close(self._master)

    @property
    def lines(self) -> list[str]:
        """All that was ever on a line by itself, colours and movements of the cursor left out; drawn over or not."""
        text = _CONTROL.sub("", self._written.decode(errors="replace"))
        return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]
