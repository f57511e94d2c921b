"""Inflates request bodies that come as ``Content-Encoding: gzip`` or ``zstd``.

A few bytes can inflate to gigabytes, so no more than a bound is ever inflated, piece by piece and only once the
application asks for the body: whoever has no valid token makes the gateway inflate nothing.
:class:`parsegate.gateway.body_limit.BodyLimit`, outside, bounds the compressed size.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import zstandard
from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ErrorCode, RequestRefused, refusal_response

_PIECE = 64 * 1024
_INLINE_BYTES = 128 * 1024
"""What one message may inflate to on the server's event loop; the rest of a larger one is inflated in a thread."""

_MAX_WINDOW = 8 * 1024 * 1024
"""Memory for which a zstd frame may ask, as RFC 9659 bounds it for HTTP."""

_ZSTD_SLICE = 512
"""Bytes taken at once, so that no step yields more than 16 MiB: zstandard can't be told how much to inflate at most,
and four bytes can be a block of 128 KiB."""


class _BodyRefused(Exception):
    def __init__(self, status: int, code: ErrorCode, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.refused = RequestRefused(status, code, message, headers)


class _Decoder(Protocol):
    @property
    def ended(self) -> bool:
        """Whether the compressed data is complete."""
        ...

    @property
    def surplus(self) -> bool:
        """Whether something follows the compressed data."""
        ...

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` inflates to, as far as the caller takes it."""
        ...


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def ended(self) -> bool:
        return self._stream.eof

    @property
    def surplus(self) -> bool:
        return bool(self._stream.unused_data)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while True:
            piece = self._stream.decompress(data, _PIECE)
            yield piece
            data = self._stream.unconsumed_tail
            # A full piece may have left something behind in the stream, even when all of the data is consumed.
            if self._stream.eof or (not data and len(piece) < _PIECE):
                return


class _Zstd:
    def __init__(self) -> None:
        self._stream = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()
        self.surplus = False

    @property
    def ended(self) -> bool:
        return self._stream.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _ZSTD_SLICE):
            if self._stream.eof:
                self.surplus = True
                return
            yield self._stream.decompress(data[start : start + _ZSTD_SLICE])
        self.surplus = self.surplus or bool(self._stream.unused_data)


_DECODERS: dict[str, Callable[[], _Decoder]] = {"gzip": _Gzip, "x-gzip": _Gzip, "zstd": _Zstd}
_ACCEPTED = "gzip, zstd"


class _Inflation:
    """One body on its way."""

    def __init__(self, encoding: str, max_bytes: int) -> None:
        self._encoding = encoding
        self._decoder = _DECODERS[encoding]()
        self._max_bytes = max_bytes
        self._inflated = 0

    async def inflated(self, data: bytes) -> bytes:
        """What the next bytes of the body inflate to.

        :raises _BodyRefused: too much, or they are not what the encoding says
        """
        pieces = self._bounded(data)
        taken: list[bytes] = []
        size = 0
        for piece in pieces:
            taken.append(piece)
            size += len(piece)
            if size >= _INLINE_BYTES:
                # Both libraries let other threads run while they inflate.
                taken.append(await to_thread.run_sync(b"".join, pieces))
        return b"".join(taken)

    def end(self) -> None:
        """
        :raises _BodyRefused: the body has ended before its compressed data
        """
        if not self._decoder.ended:
            raise self._malformed("it ends too early")

    def _bounded(self, data: bytes) -> Iterator[bytes]:
        if not data:
            return
        if self._decoder.ended:
            raise self._malformed("something follows its end")
        try:
            for piece in self._decoder.pieces(data):
                self._inflated += len(piece)
                if self._inflated > self._max_bytes:
                    raise _BodyRefused(
                        413,
                        ErrorCode.PAYLOAD_TOO_LARGE,
                        f"The request's body inflates to more than the {self._max_bytes} bytes that this gateway "
                        "reads.",
                    )
                yield piece
        except (zlib.error, zstandard.ZstdError) as error:
            raise self._malformed(str(error)) from error
        if self._decoder.surplus:
            raise self._malformed("something follows its end")

    def _malformed(self, what: str) -> _BodyRefused:
        return _BodyRefused(400, ErrorCode.BAD_REQUEST, f"The request's body is not {self._encoding}: {what}.")


class CompressedBody:
    """ASGI middleware: the application reads the inflated body, and headers that say nothing of a compression.

    :param max_bytes: the most that a body may inflate to, in bytes
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        encoding = _encoding(scope) if scope["type"] == "http" else ""
        if not encoding:
            await self.app(scope, receive, send)
            return
        more = True
        answered = False
        inflation: _Inflation | None = None

        async def receive_noticing() -> Message:
            nonlocal more
            message = await receive()
            more = message.get("more_body", False)
            return message

        async def receive_inflated() -> Message:
            nonlocal inflation
            message = await receive_noticing()
            if message["type"] != "http.request":
                return message
            if encoding not in _DECODERS:
                raise _BodyRefused(
                    415,
                    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
                    f"The body's Content-Encoding must be one of {_ACCEPTED}, or none.",
                    {"Accept-Encoding": _ACCEPTED},
                )
            inflation = inflation or _Inflation(encoding, self.max_bytes)
            body = await inflation.inflated(message.get("body", b""))
            if not more:
                inflation.end()
            return {**message, "body": body}

        async def send_noticing(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(_plain(scope), receive_inflated, send_noticing)
        except _BodyRefused as error:
            # A caller that is still sending does not look at the answer; BodyLimit bounds what is read here.
            while more:
                await receive_noticing()
            if not answered:
                await refusal_response(HTTPConnection(scope), error.refused)(scope, receive, send)


def _encoding(scope: Scope) -> str:
    """The body's encoding in lower case; empty for none, and several as one that does not exist."""
    encodings = ",".join(Headers(scope=scope).getlist("content-encoding")).lower().split(",")
    named = [encoding.strip() for encoding in encodings if encoding.strip() not in ("", "identity")]
    return ", ".join(named)


def _plain(scope: Scope) -> Scope:
    headers = MutableHeaders(raw=list(scope["headers"]))
    del headers["content-encoding"]
    del headers["content-length"]
    return {**scope, "headers": headers.raw}
