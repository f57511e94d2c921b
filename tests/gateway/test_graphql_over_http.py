"""What ``/graphql`` answers to well-formed and malformed requests: status, media type, codes, never a traceback."""

from __future__ import annotations

import gc
import json
import logging
from contextlib import suppress
from typing import Any

import pytest
from gateway_app import Gateway
from graphql import get_introspection_query
from small_schema import SECRET

from parsegate.gateway.errors import RequestRefused
from parsegate.gateway.graphql_request import decoded_json

pytestmark = pytest.mark.any_database

JSON = "application/json"
RESPONSE_JSON = "application/graphql-response+json"


def post_raw(gateway: Gateway, body: bytes, **headers: str) -> Any:
    sent = {"Content-Type": JSON, "Authorization": f"Bearer {gateway.operator_token()}"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return gateway.http.post("/graphql", content=body, headers=sent)


def code_of(response: Any) -> str:
    (error,) = response.json()["errors"]
    assert error["extensions"]["requestId"] == response.headers["x-request-id"]
    assert "data" not in response.json()
    return error["extensions"]["code"]


MALFORMED = {
    "no JSON": b"{",
    "empty": b"",
    "wrong UTF-8": b'{"query": "\xff"}',
    "a string": b'"{ hello }"',
    "a number": b"1",
    "null": b"null",
    "no query": b"{}",
    "an empty query": b'{"query": " "}',
    "a query that is a number": b'{"query": 1}',
    "variables that are a list": b'{"query": "{ hello }", "variables": []}',
    "variables that are a string": b'{"query": "{ hello }", "variables": "{}"}',
    "an operation name that is a number": b'{"query": "{ hello }", "operationName": 1}',
    "extensions that are a list": b'{"query": "{ hello }", "extensions": []}',
    "an empty array": b"[]",
    "an array of strings": b'["{ hello }"]',
    "an array with one malformed operation": b'[{"query": "{ hello }"}, {"query": null}]',
    "nested without end": b'{"query": "{ hello }", "variables": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    "a number of 5,000 digits": b'{"query": "{ hello }", "variables": {"a": ' + b"1" * 5_000 + b"}}",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_body_is_refused_that_is(small_gateway: Gateway, kind: str) -> None:
    response = post_raw(small_gateway, MALFORMED[kind])
    assert response.status_code == 400
    assert code_of(response) == "BAD_REQUEST"
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        f"{JSON}; charset=latin-1",
    ],
)
def test_a_body_of_another_media_type_is_refused(small_gateway: Gateway, content_type: str) -> None:
    response = post_raw(small_gateway, b'{"query": "{ hello }"}', Content_Type=content_type)
    assert response.status_code == 415
    assert code_of(response) == "UNSUPPORTED_MEDIA_TYPE"


def test_a_charset_of_utf_8_may_be_given(small_gateway: Gateway) -> None:
    response = post_raw(small_gateway, b'{"query": "{ hello }"}', Content_Type='application/JSON; charset="UTF-8"')
    assert response.json() == {"data": {"hello": "Hello you"}}


def test_an_array_longer_than_the_limit_is_refused(small_gateway: Gateway) -> None:
    response = small_gateway.post([{"query": "{ hello }"}] * 101, small_gateway.operator_token())
    assert response.status_code == 400
    assert "100" in response.json()["errors"][0]["message"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
def test_other_methods_are_refused(small_gateway: Gateway, method: str) -> None:
    response = small_gateway.http.request(method, "/graphql")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (RESPONSE_JSON, RESPONSE_JSON),
        (f"{RESPONSE_JSON}; charset=utf-8, {JSON};q=0.9", RESPONSE_JSON),
        (f"{JSON};q=0.5, {RESPONSE_JSON};q=0.9", RESPONSE_JSON),
        (f"{RESPONSE_JSON};q=0, */*", JSON),
    ],
)
def test_the_answer_has_the_media_type_that_the_caller_likes_best(
    small_gateway: Gateway, accept: str | None, media_type: str
) -> None:
    del small_gateway.http.headers["accept"]
    headers = {} if accept is None else {"Accept": accept}
    response = small_gateway.post({"query": "{ hello }"}, small_gateway.operator_token(), **headers)
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{media_type}; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"


def test_a_caller_that_accepts_neither_media_type_is_refused(small_gateway: Gateway) -> None:
    response = small_gateway.post({"query": "{ hello }"}, small_gateway.operator_token(), Accept="text/csv")
    assert response.status_code == 406
    assert code_of(response) == "NOT_ACCEPTABLE"


UNEXECUTED = {
    "GRAPHQL_PARSE_FAILED": {"query": "{ hello"},
    "GRAPHQL_VALIDATION_FAILED": {"query": "{ nothingOfTheKind }"},
    "BAD_USER_INPUT": {"query": "query ($n: BigInt!) { double(number: $n) }", "variables": {"n": "one"}},
    "BAD_REQUEST": {"query": "query A { hello } query B { hello }", "operationName": "C"},
}


@pytest.mark.parametrize("code", UNEXECUTED)
@pytest.mark.parametrize(("accept", "status"), [(JSON, 200), (RESPONSE_JSON, 400)])
def test_an_operation_that_does_not_begin_has_no_data(
    small_gateway: Gateway, code: str, accept: str, status: int
) -> None:
    response = small_gateway.post(UNEXECUTED[code], small_gateway.operator_token(), Accept=accept)
    assert response.status_code == status
    assert code_of(response) == code


def test_an_operation_that_began_is_answered_with_200_even_when_all_its_data_is_null(small_gateway: Gateway) -> None:
    response = small_gateway.post({"query": "{ fault }"}, small_gateway.operator_token(), Accept=RESPONSE_JSON)
    assert response.status_code == 200
    assert response.json()["data"] is None


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**400])
def test_an_integer_over_64_bits_is_refused(small_gateway: Gateway, number: int) -> None:
    operation = {"query": "query ($n: BigInt!) { double(number: $n) }", "variables": {"n": number}}
    response = small_gateway.post(operation, small_gateway.operator_token())
    assert code_of(response) == "BAD_USER_INPUT"


def test_nan_in_a_number_is_refused(small_gateway: Gateway) -> None:
    body = b'{"query": "query ($s: Float!) { wait(seconds: $s) }", "variables": {"s": NaN}}'
    assert code_of(post_raw(small_gateway, body)) == "BAD_USER_INPUT"


def test_nan_in_an_opaque_document_is_left_to_the_field_so_that_the_rest_of_a_batch_goes_on(
    small_gateway: Gateway,
) -> None:
    body = b'[{"query": "query ($d: SerializedDag!) { tasks(document: $d) }", "variables": {"d": {"x": NaN}}}]'
    assert post_raw(small_gateway, body).json() == [{"data": {"tasks": 1}}]


# Numbers at the edges of what JSON readers agree on, and text that only some of them take.
DOCUMENTS = [
    "1",
    "1.0",
    "-0",
    "-0.0",
    "1e2",
    "1e400",
    "0.1e-7",
    "9007199254740993",
    "9007199254740993.0",
    str(2**63),
    str(-(2**63) - 1),
    str(2**64),
    "1" + "0" * 300,
    "NaN",
    "[-Infinity, Infinity]",
    "1.7976931348623157e308",
    "123456789012345678901234567890.5",
    '"\\ud83d\\ude00 \\u0000 é \u2028"',
    '"\\ud800"',
    '{"\\udfff": null}',
    '{"a": 1, "a": 2}',
    "[" * 200 + "]" * 200,
]


@pytest.mark.parametrize("text", DOCUMENTS, ids=lambda text: text[:20])
def test_an_opaque_document_is_read_as_the_standard_library_reads_it(small_gateway: Gateway, text: str) -> None:
    query = "query ($d: SerializedDag!) { literal(document: $d) }"
    body = f'{{"query": "{query}", "variables": {{"d": {{"x": {text}}}}}}}'.encode()
    assert post_raw(small_gateway, body).json() == {"data": {"literal": ascii({"x": json.loads(text)})}}


@pytest.mark.parametrize("end", [b"]", b", NaN]", b""], ids=["well-formed", "leniently", "malformed"])
def test_no_garbage_is_looked_for_while_a_body_is_decoded(end: bytes) -> None:
    collections: list[str] = []

    def notice(phase: str, _: object) -> None:
        collections.append(phase)

    body = b"[" + b", ".join([b'{"a": []}'] * 100_000) + end
    gc.callbacks.append(notice)
    try:
        with suppress(RequestRefused):
            decoded_json(body)
        during = len(collections)
    finally:
        gc.callbacks.remove(notice)
    # One collection may begin and end before it, and one as soon as it is over.
    assert during <= 4
    assert gc.isenabled()


@pytest.mark.parametrize(
    "value",
    ["NaN and Infinity", "\ud800", "é\u2028😀\0", 2**64, 10**300, -0.0, 1e16, [1, 1.0], {"Infinity": None}],
    ids=ascii,
)
def test_an_opaque_value_is_answered_as_it_is(small_gateway: Gateway, value: object) -> None:
    # The test client itself would not encode half of a surrogate pair.
    operation = {"query": "query ($d: SerializedDag!) { returned(document: $d) }", "variables": {"d": {"x": value}}}
    response = post_raw(small_gateway, json.dumps(operation).encode())
    assert ascii(json.loads(response.content)) == ascii({"data": {"returned": {"x": value}}})


@pytest.mark.parametrize("value", ["NaN", "Infinity", "[-Infinity]"])
def test_an_answer_never_has_null_in_the_place_of_nan(small_gateway: Gateway, value: str) -> None:
    query = "query ($d: SerializedDag!) { returned(document: $d) }"
    body = f'{{"query": "{query}", "variables": {{"d": {{"x": {value}}}}}}}'
    assert code_of(post_raw(small_gateway, body.encode())) == "INTERNAL"


def test_an_answer_that_is_no_json_is_a_fault_of_its_operation_alone(small_gateway: Gateway) -> None:
    bad, good = small_gateway.execute_batch("{ notANumber }", "{ hello }", token=small_gateway.operator_token())
    assert bad["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert good == {"data": {"hello": "Hello you"}}


def test_a_query_may_come_by_get_but_a_mutation_may_not(small_gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {small_gateway.operator_token()}"}
    parameters = {"query": "query ($n: String!) { hello(name: $n) }", "variables": json.dumps({"n": "there"})}
    answered = small_gateway.http.get("/graphql", params=parameters, headers=headers)
    assert answered.json() == {"data": {"hello": "Hello there"}}
    parameters = {"query": 'mutation { storeVariable(key: "a") }'}
    refused = small_gateway.http.get("/graphql", params=parameters, headers=headers)
    assert refused.status_code == 405
    assert code_of(refused) == "METHOD_NOT_ALLOWED"
    assert small_gateway.data("{ variableCount }", token=small_gateway.operator_token()) == {"variableCount": 0}


@pytest.mark.parametrize("variables", ["{", "[]"])
def test_malformed_variables_by_get_are_refused(small_gateway: Gateway, variables: str) -> None:
    headers = {"Authorization": f"Bearer {small_gateway.operator_token()}"}
    response = small_gateway.http.get(
        "/graphql", params={"query": "{ hello }", "variables": variables}, headers=headers
    )
    assert response.status_code == 400
    assert code_of(response) == "BAD_REQUEST"


@pytest.mark.parametrize("path", ["/graphql", "/graphql/"])
def test_there_is_no_redirect_whichever_way_the_path_is_written(small_gateway: Gateway, path: str) -> None:
    headers = {"Authorization": f"Bearer {small_gateway.operator_token()}"}
    assert small_gateway.http.post(path, json={"query": "{ hello }"}, headers=headers).status_code == 200


def test_a_browser_gets_graphiql_without_a_token(small_gateway: Gateway) -> None:
    response = small_gateway.http.get("/graphql", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "graphiql" in response.text.lower()


def test_graphiql_s_introspection_is_within_the_limits(gateway: Gateway) -> None:
    query = get_introspection_query(input_value_deprecation=True, schema_description=True, specified_by_url=True)
    assert "__schema" in gateway.data(query, token=gateway.operator_token())


HURTFUL = {
    "deep": "{ deep " + "{ deeper " * 25 + "{ name }" + "}" * 25 + " }",
    "long": "{ " + "hello " * 6_000 + "}",
    "full of aliases": "{ " + " ".join(f"a{n}: hello" for n in range(101)) + " }",
    "fragments in a circle": "{ deep { ...A } } fragment A on Deep { deeper { ...B } } "
    "fragment B on Deep { deeper { ...A } }",
}


@pytest.mark.parametrize("kind", HURTFUL)
def test_a_document_is_refused_that_is(small_gateway: Gateway, kind: str) -> None:
    (error, *_) = small_gateway.execute(HURTFUL[kind], token=small_gateway.operator_token())["errors"]
    assert error["extensions"]["code"] in ("GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED")


def test_a_document_that_came_before_is_neither_parsed_nor_validated_again(small_gateway: Gateway) -> None:
    from strawberry.extensions import parser_cache, validation_cache

    from parsegate.gateway.limits import CACHED_DOCUMENTS

    token = small_gateway.operator_token()
    small_gateway.data("query Cached { hello }", token=token)
    caches = [parser_cache._get_parse_cache(CACHED_DOCUMENTS), validation_cache._get_validate_cache(CACHED_DOCUMENTS)]
    before = [cache.cache_info() for cache in caches]
    small_gateway.data("query Cached { hello }", token=token)
    after = [cache.cache_info() for cache in caches]
    assert [info.misses for info in after] == [info.misses for info in before]
    assert [info.hits for info in after] == [info.hits + 1 for info in before]


def test_a_fault_is_masked_for_the_caller_and_logged_with_its_traceback(
    small_gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        response = small_gateway.post(
            {"query": "query Faulty { hello optionalFault }", "operationName": "Faulty"},
            small_gateway.operator_token(),
            X_Request_ID="request-7",
        )
    assert SECRET not in response.text
    assert "Traceback" not in response.text
    assert response.json()["data"] == {"hello": "Hello you", "optionalFault": None}
    (error,) = response.json()["errors"]
    assert error["path"] == ["optionalFault"]
    assert error["extensions"] == {"code": "INTERNAL", "requestId": "request-7"}
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "request-7" in record.getMessage()
    assert "Faulty" in record.getMessage()
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == SECRET


def test_a_caller_s_mistake_is_not_logged_as_a_fault(small_gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for operation in UNEXECUTED.values():
            small_gateway.post(operation, small_gateway.operator_token())
        small_gateway.execute("{ forJobs }", token=small_gateway.operator_token())
    assert caplog.records == []


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2_3", True), ("two words", False), ("x" * 65, False), ("a\tb", False)]
)
def test_a_request_keeps_its_id_when_that_is_a_plain_word(small_gateway: Gateway, given: str, kept: bool) -> None:
    response = small_gateway.http.get("/health", headers={"X-Request-ID": given})
    assert (response.headers["x-request-id"] == given) is kept


def test_what_is_not_there_is_refused_like_everything_else(small_gateway: Gateway) -> None:
    response = small_gateway.http.get("/nothing")
    assert response.status_code == 404
    assert code_of(response) == "NOT_FOUND"
