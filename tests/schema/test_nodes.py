"""Items by their global ids: what each list gives, `node` and `nodes` give again."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from gateway_app import Gateway
from parse_state_rows import LONG_AGO, READ_ALL, counted_statements, fill, insert, read, read_everything

NODES = "query Nodes($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"
TYPES = {
    "bundleVersion": "BundleVersion",
    "bundles": "Bundle",
    "files": "ParsedFile",
    "dags": "Dag",
    "importErrors": "ImportError",
    "dagWarnings": "DagWarning",
    "processors": "Processor",
    "pendingCallbacks": "PendingCallback",
}
VERSIONS = [
    {
        "bundle_name": "bundle_0000",
        "version": version,
        "files": [],
        "file_count": 0,
        "first_seen_at": LONG_AGO,
        "last_seen_at": LONG_AGO,
    }
    for version in ("", "abc")
]


def nodes(gateway: Gateway, ids: list[str], bundles: tuple[str, ...] = ("*",)) -> list[Any]:
    return gateway.data(NODES, {"ids": ids}, token=gateway.operator_token(bundles))["nodes"]


def global_id(type_name: str, *key: object) -> str:
    text = key[0] if len(key) == 1 else json.dumps(key, separators=(",", ":"))
    return b64encode(f"{type_name}:{text}".encode()).decode()


def test_every_item_of_every_list_is_found_again_by_its_id(gateway: Gateway) -> None:
    from parsegate.resolvers.tables import BundleVersion

    fill(4)
    items = [(field, node["id"]) for field in READ_ALL for node in read_everything(gateway, field, 9)]
    assert {field for field, _ in items} == set(READ_ALL)
    insert(BundleVersion, *VERSIONS)
    items += [("bundleVersion", global_id("BundleVersion", "bundle_0000", row["version"])) for row in VERSIONS]

    with counted_statements() as sent:
        found = nodes(gateway, [item for _, item in items])

    assert found == [{"__typename": TYPES[field], "id": item} for field, item in items]
    assert len(sent) == len(TYPES) + 1  # pending callbacks are in two tables

    names = "... on Dag { dagId tags } ... on ParsedFile { relativeFileloc } ... on Processor { jobId }"
    for field, id_ in items:
        node = gateway.data(f'{{ node(id: "{id_}") {{ __typename id {names} }} }}', token=gateway.operator_token())
        assert (node["node"]["__typename"], node["node"]["id"]) == (TYPES[field], id_)


def test_what_is_gone_and_what_the_token_does_not_grant_is_null(gateway: Gateway) -> None:
    from parsegate.resolvers.tables import BundleVersion

    fill(2)
    insert(BundleVersion, *VERSIONS)
    (bundle, _), (file, _) = (read(gateway, field, "first: 2", "id") for field in ("bundles", "files"))
    gone = [
        global_id("Bundle", "nowhere"),
        global_id("ParsedFile", "bundle_0000", "gone.py"),
        global_id("ImportError", 999),
        global_id("PendingCallback", "no UUID"),
    ]

    assert nodes(gateway, [bundle["id"], *gone, file["id"]]) == [
        {"__typename": "Bundle", "id": bundle["id"]},
        *[None] * 4,
        {"__typename": "ParsedFile", "id": file["id"]},
    ]
    everything = [global_id("BundleVersion", "bundle_0000", "abc")]
    everything += [node["id"] for field in READ_ALL for node in read_everything(gateway, field, 9)]
    visible = [node["__typename"] for node in nodes(gateway, everything, ("another",)) if node]
    assert set(visible) <= {"Processor"}  # those of the test are for all bundles


IMPOSSIBLE = [
    "",
    "nonsense",
    global_id("Query", 1),
    global_id("KeyedNode", 1),
    global_id("Parse", 1),
    global_id("Processor", "one"),
    global_id("Processor", 2**31),
    global_id("ImportError", "1.5"),
    global_id("ParsedFile", "dags"),
    global_id("ParsedFile", "dags", 1),
    global_id("ParsedFile", "dags", "a.py", "b.py"),
    global_id("DagWarning", '{"a": 1}'),
    global_id("DagWarning", "[" * 100_000),
    global_id("Dag", "\0"),
]


def test_an_id_that_the_gateway_never_gave_is_a_typed_error(gateway: Gateway) -> None:
    for text in IMPOSSIBLE:
        for document, argument in (("{ node(id: $id) { id } }", "id"), ("{ nodes(ids: [$id]) { id } }", "ids")):
            response = gateway.execute(f"query Q($id: ID!) {document}", {"id": text}, token=gateway.operator_token())

            (error,) = response["errors"]
            extensions = error["extensions"]
            assert (extensions["code"], extensions["argument"]) == ("BAD_USER_INPUT", argument), (text, error)


def test_more_ids_than_a_page_has_items_are_a_typed_error(gateway: Gateway) -> None:
    response = gateway.execute(NODES, {"ids": [global_id("Dag", "a")] * 501}, token=gateway.operator_token())

    assert response["errors"][0]["extensions"]["argument"] == "ids"


def test_only_operators_read_by_id(gateway: Gateway) -> None:
    for token in (gateway.processor_token(), gateway.job_token(job_id=1)):
        for document in ('{ node(id: "x") { id } }', '{ nodes(ids: ["x"]) { id } }'):
            assert gateway.execute(document, token=token)["errors"][0]["extensions"]["code"] == "FORBIDDEN"
