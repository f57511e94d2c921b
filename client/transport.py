"""The HTTP leg to the gateway: gql's HTTPX transport with our headers, TLS, limits and typed failures.

Large requests are sent compressed. Answers never come so: they hold secrets beside names that DAG code chooses, and the
length of a compressed one would tell whether a guess matches a secret (BREACH).

gql's own transport logs whole bodies at DEBUG and quotes answers in its exceptions; bodies carry connections and
variables in clear text. So this subclass prepares requests and reads answers by itself, and neither logs nor quotes a
body (gql 4.4 ``transport/httpx.py``).
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import uuid
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import httpx
import msgspec
import zstandard
from gql import GraphQLRequest
from gql.transport.httpx import HTTPXAsyncTransport
from graphql import ExecutionResult
from pydantic_core import PydanticSerializationError, to_json

from . import spans

MAX_REQUEST_BYTES = 16 * 1024 * 1024
"""The largest body that the gateway takes; a larger one is not sent at all."""

REQUEST_ID_HEADER = "X-Request-Id"

_CONNECT_TIMEOUT = 5.0

_NOT_UNDERSTOOD = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
"""How a gateway answers a compressed body that takes none: 415, or 400 if it reads the bytes as JSON."""

# Below uvicorn's 5 s, so that an idle connection is closed by us first and no request meets a connection being closed.
_KEEPALIVE = 4.0


log = logging.getLogger(__name__)


class GatewayError(Exception):
    """A request that has no answer of its own; the message is fit for a log.

    :param request_id: names the request in the gateway's log; None if it was not sent
    """

    def __init__(self, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


class GatewayUnreachable(GatewayError):
    """No connection, no answer in time, a 5xx status, an answer that is not GraphQL: the same request may do later."""


class TokenRefused(GatewayError):
    """401: the token is missing, expired or not one of the gateway's."""


class AccessDenied(GatewayError):
    """403: the token is good, but not for this."""


class RequestTooLarge(GatewayError):
    """413, or known to become one."""


class RequestRejected(GatewayError):
    """Another 4xx: the gateway did not understand the request as a whole.

    :param code: ``extensions.code`` of the error, if it gave one
    """

    def __init__(self, message: str, request_id: str | None = None, code: str | None = None) -> None:
        super().__init__(message, request_id)
        self.code = code


def tls_context(ca_path: str | None, certificate_path: str | None, key_path: str | None) -> ssl.SSLContext:
    """The system's authorities, or only those of ``ca_path``; with a client certificate if one is given.

    :raises OSError: a file can't be read or holds no certificate (``ssl.SSLError`` is one)
    """
    context = ssl.create_default_context(cafile=ca_path)
    if certificate_path:
        context.load_cert_chain(certificate_path, key_path)
    return context


def http_client(
    *,
    user_agent: str,
    verify: ssl.SSLContext | bool = True,
    proxy: str | None = None,
) -> httpx.AsyncClient:
    """The one connection pool that all transports of a process share."""
    return httpx.AsyncClient(
        verify=verify,
        proxy=proxy,
        trust_env=False,
        follow_redirects=False,
        # Nor may a proxy compress answers.
        headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
        limits=httpx.Limits(max_connections=10, max_keepalive_connections=4, keepalive_expiry=_KEEPALIVE),
    )


class GatewayTransport(HTTPXAsyncTransport):
    """Sends operations with the token that ``token`` gives at that moment.

    :param http: the shared client; stays open when the transport is closed
    :param timeout: seconds that one request may take in all
    :param compress_above: bodies of more bytes than this are sent compressed with zstd; None compresses none, and so it
        is from when a gateway turns out not to take it
    """

    def __init__(
        self,
        url: str,
        *,
        http: httpx.AsyncClient,
        token: Callable[[], str],
        timeout: float,
        compress_above: int | None = None,
    ) -> None:
        super().__init__(url)
        self._http = http
        self._token = token
        self._timeout = timeout
        self._compress_above = compress_above

    async def connect(self) -> None:
        self.client = self._http

    async def close(self) -> None:
        self.client = None

    async def execute(
        self, request: GraphQLRequest, *, extra_args: dict[str, Any] | None = None, upload_files: bool = False
    ) -> ExecutionResult:
        """
        :raises GatewayError: there is no answer of the operation's own
        """
        answer, status, request_id = await self._post(request.payload, [request])
        if not isinstance(answer, dict):
            raise _unusable(status, request_id)
        return _result(answer, status, request_id)

    async def execute_batch(
        self, reqs: list[GraphQLRequest], extra_args: dict[str, Any] | None = None
    ) -> list[ExecutionResult]:
        """One HTTP request, run in order by the gateway; one result each, errors of an operation in its own.

        :raises GatewayError: there are no answers of the operations' own
        """
        answers, status, request_id = await self._post([request.payload for request in reqs], reqs)
        if isinstance(answers, dict) and answers.get("errors"):
            raise _rejected(answers, status, request_id)
        if not isinstance(answers, list) or len(answers) != len(reqs):
            raise _unusable(status, request_id)
        return [_result(answer, status, request_id) for answer in answers]

    async def _post(self, payload: Any, requests: Sequence[GraphQLRequest]) -> tuple[Any, int, str]:
        body = _encoded(payload)
        if len(body) > MAX_REQUEST_BYTES:
            raise RequestTooLarge(f"The request has {len(body)} bytes; the gateway takes {MAX_REQUEST_BYTES}.")
        request_id = str(uuid.uuid4())
        headers = {
            "Authorization": f"Bearer {self._token()}",
            "Content-Type": "application/json",
            "Accept": "application/graphql-response+json, application/json",
            REQUEST_ID_HEADER: request_id,
        }
        with spans.request([request.operation_name or "" for request in requests], request_id) as trace_headers:
            try:
                async with asyncio.timeout(self._timeout):
                    response = await self._deliver(body, {**headers, **trace_headers})
            except TimeoutError as error:
                raise GatewayUnreachable(f"no answer within {self._timeout:g} s", request_id) from error
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                raise GatewayUnreachable(f"{type(error).__name__}: {error}".rstrip(": "), request_id) from error
            return self._read(response, request_id), response.status_code, request_id

    async def _deliver(self, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        if self._compress_above is None or len(body) <= self._compress_above:
            return await self._send(body, headers)
        # A compressor of its own each time: one that is kept would keep the memory that its largest body took.
        compressed = zstandard.ZstdCompressor().compress(body)
        response = await self._send(compressed, {**headers, "Content-Encoding": "zstd"})
        if response.status_code not in _NOT_UNDERSTOOD:
            return response
        response = await self._send(body, headers)
        if response.status_code not in _NOT_UNDERSTOOD:
            log.warning("The gateway takes no compressed requests; they are sent as they are from now on.")
            self._compress_above = None
        return response

    async def _send(self, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        timeout = httpx.Timeout(self._timeout, connect=min(_CONNECT_TIMEOUT, self._timeout))
        try:
            return await self._http.post(self.url, content=body, headers=dict(headers), timeout=timeout)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            # A kept-alive connection that the gateway has just closed looks like this. Anything can be sent twice.
            return await self._http.post(self.url, content=body, headers=dict(headers), timeout=timeout)

    def _read(self, response: httpx.Response, request_id: str) -> Any:
        status = response.status_code
        try:
            answer: Any = _decoded(response.content)
        except ValueError:
            answer = None
        if status == HTTPStatus.UNAUTHORIZED:
            raise TokenRefused(_message(answer) or "the gateway refuses the token (401)", request_id)
        if status == HTTPStatus.FORBIDDEN:
            raise AccessDenied(_message(answer) or "the gateway denies access (403)", request_id)
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise RequestTooLarge(_message(answer) or "the gateway finds the request too large (413)", request_id)
        if status >= 500 or status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS):
            raise GatewayUnreachable(f"the gateway answers with status {status}", request_id)
        if 300 <= status < 400:
            raise GatewayUnreachable(
                f"status {status} redirects elsewhere: check that the URL is the gateway's GraphQL endpoint", request_id
            )
        if answer is None:
            raise _unusable(status, request_id)
        return answer


def _encoded(payload: Any) -> bytes:
    try:
        # NaN is written as such: it is the gateway's to refuse, for the one item that holds it. orjson and msgspec
        # would write null, which no gateway could tell from a null of the document.
        return to_json(payload, inf_nan_mode="constants")
    except PydanticSerializationError:
        # Halves of surrogate pairs, which DAGs and the messages of exceptions may hold.
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _decoded(content: bytes) -> Any:
    """
    :raises ValueError: it is not JSON
    """
    try:
        return msgspec.json.decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # Perhaps what only the standard library takes for JSON.
        return json.loads(content)


def _message(answer: Any) -> str | None:
    error = _first_error(answer)
    return str(error["message"]) if error and "message" in error else None


def _first_error(answer: Any) -> dict[str, Any] | None:
    if not isinstance(answer, dict):
        return None
    errors: Any = answer.get("errors")
    return errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else None


def _rejected(answer: dict[str, Any], status: int, request_id: str) -> RequestRejected:
    error = _first_error(answer) or {}
    extensions: Any = error.get("extensions")
    code = extensions.get("code") if isinstance(extensions, dict) else None
    return RequestRejected(str(error.get("message") or f"the gateway answers with status {status}"), request_id, code)


def _unusable(status: int, request_id: str) -> GatewayUnreachable:
    return GatewayUnreachable(
        f"the answer (status {status}) is not one of a GraphQL gateway: check the URL and the proxy", request_id
    )


def _result(answer: Any, status: int, request_id: str) -> ExecutionResult:
    if not isinstance(answer, dict) or not ("data" in answer or "errors" in answer):
        raise _unusable(status, request_id)
    # The id is no extension of the answer, but nothing else of a result is handed on to whoever asked.
    extensions = {**(answer.get("extensions") or {}), "requestId": request_id}
    return ExecutionResult(data=answer.get("data"), errors=answer.get("errors"), extensions=extensions)
