"""An HTTP proxy that can CONNECT, and writes down to where it did."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socket import SHUT_WR, create_connection, socket


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.request.recv(1)
        method, target, _ = head.split(b"\r\n")[0].decode().split()
        assert isinstance(self.server, ConnectProxy)
        self.server.targets.append(f"{method} {target}")
        host, _, port = target.rpartition(":")
        with create_connection((host, int(port))) as upstream:
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pump, args=(upstream, self.request))
            back.start()
            _pump(self.request, upstream)
            back.join()


def _pump(source: socket, target: socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(SHUT_WR)
    except OSError:
        pass


class ConnectProxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.targets: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def connect_proxy() -> Iterator[ConnectProxy]:
    with ConnectProxy() as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
        proxy.shutdown()
