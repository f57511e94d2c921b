"""How uvicorn speaks HTTP when the gateway runs by itself: as always, except that event streams end when it stops.

WebSockets need nothing of the kind: uvicorn closes them with 1012 (service restart).
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .event_stream import STOPPING


class HttpProtocol(HttpToolsProtocol):
    """uvicorn lets running requests end by themselves, which a stream does not."""

    def shutdown(self) -> None:
        super().shutdown()
        cycle = self.cycle
        # None until the first request, whatever its declaration says.
        if cycle is not None and not cycle.response_complete:  # pyright: ignore[reportUnnecessaryComparison]
            stopping = cycle.scope.get("state", {}).get(STOPPING)
            if stopping is not None:
                stopping.set()
