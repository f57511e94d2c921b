"""Compressed request bodies are inflated within a bound; what is malformed, too much or not known is told as such."""

from __future__ import annotations

import gzip
import json
import random
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import httpx
import pytest
import zstandard
from airflow_database import AirflowDatabase
from gateway_app import Gateway
from running_gateway import RunningGateway

from parsegate.gateway import compressed_body

pytestmark = pytest.mark.any_database

LIMIT = 16 * 1024 * 1024

Compress = Callable[[bytes], bytes]


def zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(body)


def zstd_of_unknown_size(body: bytes) -> bytes:
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(body) + stream.flush()


ENCODINGS: dict[str, tuple[str, Compress]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "in capitals": ("GZip", gzip.compress),
    "zstd": ("zstd", zstd),
    "zstd without its size": ("zstd", zstd_of_unknown_size),
    "identity": ("identity", bytes),
    "identity twice": ("identity, zstd", zstd),
}
COMPRESSIONS = [pytest.param("gzip", gzip.compress, id="gzip"), pytest.param("zstd", zstd, id="zstd")]


def operation(text: str) -> bytes:
    document = {"query": "query ($d: SerializedDag!) { literal(document: $d) }", "variables": {"d": {"x": text}}}
    return json.dumps(document).encode()


def operation_of(size: int) -> bytes:
    """An operation of exactly ``size`` bytes with a short answer."""
    before, after = operation("%").replace(b"literal", b"tasks").split(b"%")
    return before + b"x" * (size - len(before) - len(after)) + after


def in_pieces(body: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def post(gateway: Gateway, body: bytes | Iterator[bytes], *encodings: str) -> httpx.Response:
    headers = [
        ("Content-Type", "application/json"),
        ("Authorization", f"Bearer {gateway.operator_token()}"),
        *(("Content-Encoding", encoding) for encoding in encodings),
    ]
    return gateway.http.post("/graphql", content=body, headers=headers)


def refusal(response: httpx.Response) -> tuple[int, str]:
    (error,) = response.json()["errors"]
    assert error["extensions"]["requestId"] == response.headers["x-request-id"]
    return response.status_code, error["extensions"]["code"]


@pytest.mark.parametrize("piece", [1, 500, 65536, None])
@pytest.mark.parametrize(("encoding", "compress"), ENCODINGS.values(), ids=ENCODINGS.keys())
def test_a_compressed_body_is_read_like_one_that_is_not(
    small_gateway: Gateway, encoding: str, compress: Compress, piece: int | None
) -> None:
    # Text that compresses badly, so that the body comes in several pieces, behind some that compresses well.
    text = "a" * 300_000 + "".join(random.Random(1).choices("0123456789abcdef", k=20_000 if piece else 400_000))
    if piece == 1:
        text = text[-2000:]
    body = compress(operation(text))
    response = post(small_gateway, body if piece is None else in_pieces(body, piece), encoding)
    assert response.json() == {"data": {"literal": ascii({"x": text})}}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413)])
@pytest.mark.parametrize(("encoding", "compress"), COMPRESSIONS)
def test_the_limit_of_the_inflated_size_is_exact(
    small_gateway: Gateway, encoding: str, compress: Compress, size: int, status: int, chunked: bool
) -> None:
    body = compress(operation_of(size))
    response = post(small_gateway, in_pieces(body, 100) if chunked else body, encoding)
    if status == 413:
        assert refusal(response) == (413, "PAYLOAD_TOO_LARGE")
        assert str(LIMIT) in response.json()["errors"][0]["message"]
    else:
        assert response.json() == {"data": {"tasks": 1}}


@pytest.mark.parametrize(("encoding", "compress"), COMPRESSIONS)
def test_the_limit_of_the_compressed_size_holds_as_well(
    airflow_database: AirflowDatabase, monkeypatch: pytest.MonkeyPatch, encoding: str, compress: Compress
) -> None:
    monkeypatch.setenv("AIRFLOW__PARSEGATE__MAX_BODY_BYTES", "2048")
    gateway = Gateway(airflow_database)
    body = compress(random.Random(1).randbytes(4096))
    assert len(body) > 2048
    assert refusal(post(gateway, body, encoding)) == (413, "PAYLOAD_TOO_LARGE")
    assert refusal(post(gateway, in_pieces(body, 100), encoding)) == (413, "PAYLOAD_TOO_LARGE")


def zeros(encoding: str, megabytes: int) -> bytes:
    block = bytes(1024 * 1024)
    stream = zlib.compressobj(9, wbits=31) if encoding == "gzip" else zstandard.ZstdCompressor(level=19).compressobj()
    return b"".join(stream.compress(block) for _ in range(megabytes)) + stream.flush()


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_not_inflated_beyond_the_limit(small_gateway: Gateway, encoding: str) -> None:
    bomb = zeros(encoding, 512)
    assert len(bomb) < 1024 * 1024
    tracemalloc.start()
    try:
        response = post(small_gateway, bomb, encoding)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refusal(response) == (413, "PAYLOAD_TOO_LARGE")
    assert peak < 5 * LIMIT


@pytest.mark.parametrize(
    "encodings",
    [("br",), ("deflate",), ("gzip, zstd",), ("zstd", "gzip"), ("gzip,gzip",), ("compress",), ("zstd;q=1",), ("*",)],
)
def test_another_encoding_is_refused_with_those_that_are_taken(
    small_gateway: Gateway, encodings: tuple[str, ...]
) -> None:
    body = operation("x")
    for encoding in ", ".join(encodings).replace(" ", "").split(","):
        body = {"gzip": gzip.compress, "zstd": zstd}.get(encoding, bytes)(body)
    response = post(small_gateway, body, *encodings)
    assert refusal(response) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert response.headers["accept-encoding"] == "gzip, zstd"


def cut(body: bytes, at: float) -> bytes:
    return body[: int(len(body) * at)]


MALFORMED: dict[str, Callable[[Compress], bytes]] = {
    "empty": lambda compress: b"",
    "cut in its header": lambda compress: compress(operation("x"))[:3],
    "cut in the middle": lambda compress: cut(compress(operation("x" * 100)), 0.5),
    "cut at its last byte": lambda compress: compress(operation("x"))[:-1],
    "with something behind it": lambda compress: compress(operation("x")) + b"x",
    "with much behind it": lambda compress: compress(operation("x")) + b"\0" * 5000,
    "twice": lambda compress: compress(operation("x")) + compress(b" "),
    "not compressed": lambda compress: operation("x"),
    "damaged": lambda compress: compress(operation("x" * 10_000))[:9] + b"\xff\xff\xff\xff",
}


@pytest.mark.parametrize("piece", [1, None])
@pytest.mark.parametrize("make", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize(("encoding", "compress"), COMPRESSIONS)
def test_a_malformed_body_is_refused(
    small_gateway: Gateway, encoding: str, compress: Compress, make: Callable[[Compress], bytes], piece: int | None
) -> None:
    body = make(compress)
    response = post(small_gateway, in_pieces(body, piece) if piece and body else body, encoding)
    assert refusal(response) == (400, "BAD_REQUEST")
    assert f"not {encoding}" in response.json()["errors"][0]["message"]


def test_a_frame_that_asks_for_much_memory_is_refused(small_gateway: Gateway) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = stream.compress(operation("x")) + stream.flush()
    assert refusal(post(small_gateway, body, "zstd")) == (400, "BAD_REQUEST")


def test_nothing_is_inflated_for_a_caller_without_a_token(
    small_gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    inflations: list[str] = []
    monkeypatch.setattr(compressed_body, "_Inflation", lambda encoding, _: inflations.append(encoding))
    headers = {"Content-Type": "application/json", "Content-Encoding": "zstd"}
    response = small_gateway.http.post("/graphql", content=zeros("zstd", 16), headers=headers)
    assert refusal(response) == (401, "UNAUTHENTICATED")
    assert not inflations


@pytest.mark.parametrize(("encoding", "decoder"), [("gzip", "_Gzip"), ("zstd", "_Zstd")])
def test_a_large_body_is_inflated_outside_of_the_event_loop(
    small_gateway: Gateway, monkeypatch: pytest.MonkeyPatch, encoding: str, decoder: str
) -> None:
    threads: list[int] = []
    original = getattr(compressed_body, decoder).pieces

    def pieces(self: object, data: bytes) -> Iterator[bytes]:
        for piece in original(self, data):
            threads.append(threading.get_ident())
            yield piece

    monkeypatch.setattr(getattr(compressed_body, decoder), "pieces", pieces)
    compress = {"gzip": gzip.compress, "zstd": zstd}[encoding]
    assert post(small_gateway, compress(operation_of(50_000)), encoding).status_code == 200
    assert len(set(threads)) == 1
    threads.clear()
    text = "".join(random.Random(1).choices("0123456789abcdef", k=8 * 1024 * 1024))
    assert post(small_gateway, compress(operation(text).replace(b"literal", b"tasks")), encoding).status_code == 200
    assert len(set(threads)) == 2
    assert threads.count(threads[0]) < len(threads) / 10


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("encoding", "status"), [("gzip", 413), ("zstd", 413), ("br", 415)], ids=["gzip", "zstd", "unknown"]
)
def test_a_real_client_gets_the_answer_and_may_go_on(
    running_gateway: RunningGateway, encoding: str, status: int, chunked: bool
) -> None:
    # What follows the point at which the gateway has had enough must be read, or the client's sending fails.
    body = zeros("zstd" if encoding == "zstd" else "gzip", 64) + bytes(4 * 1024 * 1024)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {running_gateway.operator_token()}"}
    with httpx.Client(trust_env=False) as client:
        response = client.post(
            running_gateway.url,
            content=in_pieces(body, 64 * 1024) if chunked else body,
            headers={**headers, "Content-Encoding": encoding},
        )
        assert response.status_code == status
        again = client.post(
            running_gateway.url,
            content=zstd(b'{"query": "{ __typename }"}'),
            headers={**headers, "Content-Encoding": "zstd"},
        )
        assert again.json() == {"data": {"__typename": "Query"}}


def test_answers_are_never_compressed(small_gateway: Gateway) -> None:
    headers = {"Accept-Encoding": "gzip, zstd, br"}
    response = small_gateway.post(json.loads(operation("x" * 100_000)), small_gateway.operator_token(), **headers)
    assert "content-encoding" not in response.headers
    assert len(response.content) > 100_000
