"""Lists what a process opens and connects to; put on PYTHONPATH, it is in force before any other code runs.

Appends lines ``pid<TAB>event<TAB>object`` to the file that ``PARSEGATE_TEST_AUDIT`` names. Forked children go on
listing. The file is opened anew for each line, since a parse child closes every descriptor that it inherited.
"""

import os
import sys
from _thread import _local

_EVENTS = {"open": 0, "socket.connect": 1, "socket.bind": 1, "sqlite3.connect": 0, "os.exec": 1, "subprocess.Popen": 1}
_path = os.environ.get("PARSEGATE_TEST_AUDIT")
_thread = _local()


def _list(event, arguments):
    if event not in _EVENTS or getattr(_thread, "listing", False):
        return
    _thread.listing = True
    try:
        line = f"{os.getpid()}\t{event}\t{arguments[_EVENTS[event]]!r}\n"
        descriptor = os.open(_path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, line.encode(errors="replace"))
        finally:
            os.close(descriptor)
    finally:
        _thread.listing = False


if _path:
    sys.addaudithook(_list)
