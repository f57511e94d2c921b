"""Reading GraphQL operations from HTTP requests, strictly: what is malformed is refused, never guessed at."""

from __future__ import annotations

import gc
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from starlette.requests import Request

from .errors import ErrorCode, RequestRefused

RESPONSE_JSON = "application/graphql-response+json"
JSON = "application/json"
EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True)
class GraphQLRequest:
    """One operation as it came: the parameters of GraphQL over HTTP."""

    query: str
    variables: dict[str, Any] | None
    operation_name: str | None
    extensions: dict[str, Any] | None


def wants_page(request: Request) -> bool:
    """Whether a browser asks for the page to write queries in, rather than for an answer."""
    return (
        request.method == "GET"
        and "query" not in request.query_params
        and any(media_type == "text/html" for media_type, _ in _accepted(request))
    )


def accepted_media_type(request: Request) -> str:
    """The media type to answer in: what the caller likes best of the two that GraphQL over HTTP has, and of streams.

    Only who says so in as many words gets a stream.

    :raises RequestRefused: it likes neither
    """
    if "accept" not in request.headers:
        return JSON
    best, best_quality = "", 0.0
    for media_type, quality in _accepted(request):
        offered = JSON if media_type in ("*/*", "application/*") else media_type
        if offered in (JSON, RESPONSE_JSON, EVENT_STREAM) and quality > best_quality:
            best, best_quality = offered, quality
    if not best:
        raise RequestRefused(
            406,
            ErrorCode.NOT_ACCEPTABLE,
            f"The answer is {RESPONSE_JSON}, {JSON} or {EVENT_STREAM}; accept one of them.",
        )
    return best


def operations_of_get(request: Request) -> GraphQLRequest:
    """The operation in the URL's parameters.

    :raises RequestRefused: there is none, or it is malformed
    """
    parameters: dict[str, Any] = {
        name: request.query_params[name]
        for name in ("query", "variables", "operationName", "extensions")
        if name in request.query_params
    }
    for name in ("variables", "extensions"):
        if parameters.get(name):
            parameters[name] = decoded_json(parameters[name].encode())
        else:
            parameters.pop(name, None)
    return operation_of(parameters)


async def operations_of_post(request: Request, max_operations: int) -> tuple[list[GraphQLRequest], bool]:
    """The operations in the body, and whether they came as an array.

    :raises RequestRefused: the body is none, malformed, or holds more than ``max_operations``
    """
    content_type, _, parameters = request.headers.get("content-type", "").partition(";")
    if content_type.strip().lower() != JSON:
        raise RequestRefused(415, ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"The body must be {JSON}.", {"Accept-Post": JSON})
    charset = parameters.lower().replace(" ", "").replace('"', "").partition("charset=")[2]
    if charset not in ("", "utf-8", "utf8"):
        raise RequestRefused(415, ErrorCode.UNSUPPORTED_MEDIA_TYPE, "The body must be UTF-8.", {"Accept-Post": JSON})
    # Not in a thread: decoding holds the interpreter's lock until it is done, wherever it runs.
    decoded = decoded_json(await request.body())
    if not isinstance(decoded, list):
        return [operation_of(decoded)], False
    items = cast("list[object]", decoded)
    if not 1 <= len(items) <= max_operations:
        raise _bad_request(f"An array must hold 1 to {max_operations} operations; this one holds {len(items)}.")
    return [operation_of(item, f" (operation {index} of the array)") for index, item in enumerate(items)], True


def _accepted(request: Request) -> list[tuple[str, float]]:
    """Media types of the Accept header with their quality, in the header's order."""
    accepted: list[tuple[str, float]] = []
    for item in ",".join(request.headers.getlist("accept")).split(","):
        media_type, *parameters = [part.strip().lower() for part in item.split(";")]
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        accepted.append((media_type, quality))
    return accepted


def decoded_json(body: bytes) -> object:
    """What the JSON of a request says.

    NaN and Infinity pass here: a parse result that holds them is refused by itself, not with its whole request.

    Whole numbers of more than 64 bits stay whole numbers, for the same reason: msgspec keeps them, while orjson 3 makes
    floats of them, which nobody could tell from numbers that are good.

    :raises RequestRefused: it is not JSON
    """
    with _collector_paused():
        try:
            return msgspec.json.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            # It is not JSON, or what only the standard library takes for it: NaN, 1e400, halves of surrogate pairs.
            return _decoded_leniently(body)


@contextmanager
def _collector_paused() -> Generator[None]:
    """Nothing that a decoder makes is garbage yet, but the more it makes, the more often Python looks through all
    objects of the process: more than ten times as long as the decoding itself, for a body of 16 MiB.

    Nothing else runs meanwhile, because the decoder keeps the interpreter's lock.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _decoded_leniently(body: bytes) -> object:
    try:
        return json.loads(body)
    except RecursionError:
        raise _bad_request("The JSON is nested too deeply.") from None
    except ValueError as error:
        # Not only JSONDecodeError: wrong UTF-8, and whole numbers of thousands of digits.
        raise _bad_request(f"The request is not JSON: {error}") from None


def operation_of(decoded: object, where: str = "") -> GraphQLRequest:
    """The operation that decoded JSON holds.

    :raises RequestRefused: it holds none, or one that is malformed
    """
    if not isinstance(decoded, dict):
        raise _bad_request(f"An operation must be a JSON object{where}.")
    parameters = cast("dict[str, Any]", decoded)
    query = parameters.get("query")
    if not isinstance(query, str) or not query.strip():
        raise _bad_request(f"`query` must be a string that holds a GraphQL document{where}.")
    for name, expected, noun in (
        ("variables", dict, "an object"),
        ("extensions", dict, "an object"),
        ("operationName", str, "a string"),
    ):
        if not isinstance(parameters.get(name), expected | None):
            raise _bad_request(f"`{name}` must be {noun} or null{where}.")
    return GraphQLRequest(
        query=query,
        variables=parameters.get("variables"),
        operation_name=parameters.get("operationName"),
        extensions=parameters.get("extensions"),
    )


def _bad_request(message: str) -> RequestRefused:
    return RequestRefused(400, ErrorCode.BAD_REQUEST, message)
