"""Arrays of operations: in order, each on its own, each seeing what the ones before it committed."""

from __future__ import annotations

import small_schema
from gateway_app import Gateway

STORE = "mutation ($key: String!, $fail: Boolean! = false) { storeVariable(key: $key, fail: $fail) }"


def test_each_operation_sees_what_the_ones_before_it_committed(small_gateway: Gateway) -> None:
    answers = small_gateway.execute_batch(
        (STORE, {"key": "a"}), "{ variableCount }", (STORE, {"key": "b"}), "{ variableCount }",
        token=small_gateway.operator_token(),
    )  # fmt: skip
    assert [next(iter(answer["data"].values())) for answer in answers] == [1, 1, 2, 2]


def test_one_that_fails_stores_nothing_and_the_others_go_on(small_gateway: Gateway) -> None:
    answers = small_gateway.execute_batch(
        (STORE, {"key": "a"}),
        (STORE, {"key": "b", "fail": True}),
        "{ nothingOfTheKind }",
        "query ($n: BigInt!) { double(number: $n) }",
        (STORE, {"key": "c"}),
        token=small_gateway.operator_token(),
    )
    codes = [answer["errors"][0]["extensions"]["code"] if "errors" in answer else None for answer in answers]
    assert codes == [None, "INTERNAL", "GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT", None]
    assert answers[-1]["data"] == {"storeVariable": 2}


def test_two_mutation_fields_are_two_transactions(small_gateway: Gateway) -> None:
    token = small_gateway.operator_token()
    answer = small_gateway.execute(
        'mutation { first: storeVariable(key: "a") second: storeVariable(key: "b", fail: true) }', token=token
    )
    assert answer["errors"][0]["path"] == ["second"]
    assert small_gateway.data("{ variableCount }", token=token) == {"variableCount": 1}


def test_a_batch_is_answered_in_its_order_even_when_the_first_takes_longest(small_gateway: Gateway) -> None:
    answers = small_gateway.execute_batch(
        "{ a: wait(seconds: 0.2) }", "{ b: wait(seconds: 0) }", token=small_gateway.operator_token()
    )
    assert [list(answer["data"]) for answer in answers] == [["a"], ["b"]]


def test_an_array_of_one_is_answered_with_an_array(small_gateway: Gateway) -> None:
    answers = small_gateway.execute_batch("{ hello }", token=small_gateway.operator_token())
    assert answers == [{"data": {"hello": "Hello you"}}]


def test_operations_run_in_worker_threads_not_on_the_event_loop(small_gateway: Gateway) -> None:
    small_schema.executing_threads.clear()
    small_gateway.data("{ a: hello b: hello }", token=small_gateway.operator_token())
    first, second = small_schema.executing_threads
    assert first == second
    assert "AnyIO worker thread" in first
