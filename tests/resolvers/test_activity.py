"""What processors do now: told with their heartbeats, kept, and shown to operators as far as they may know."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_app import Gateway
from parse_state_rows import counted_statements, read
from registered_processor import RegisteredProcessor

SHOWN = "activity { parsing { bundleName relativeFileloc } queuedFiles undeliveredResults at } latestHeartbeat"


def told(*files: tuple[str, str], queued: int = 7, undelivered: int = 2) -> dict[str, Any]:
    return {
        "parsing": [{"bundleName": bundle, "relativeFileloc": path} for bundle, path in files],
        "queuedFiles": queued,
        "undeliveredResults": undelivered,
    }


def shown(gateway: Gateway, bundles: tuple[str, ...] = ("*",)) -> Any:
    (processor,) = read(gateway, "processors", "first: 1", SHOWN, bundles)
    return processor


def test_operators_see_what_a_processor_does_until_it_says_something_else_or_ends(gateway: Gateway) -> None:
    processor = RegisteredProcessor(gateway, bundleNames=["dags", "theirs"])
    assert shown(gateway)["activity"] is None

    with counted_statements() as updates:
        beat = processor.send("Heartbeat", activity=told(("dags", "a.py"), ("theirs", "sub/b.py")))
    with counted_statements() as sent:
        assert processor.send("Heartbeat", activity=None)["status"] == "ACCEPTED"

    assert beat["status"] == "ACCEPTED"
    assert len(updates) == (3 if gateway.database.kind == "sqlite" else 1), updates
    assert [statement for statement in sent if "parsegate_processor" in statement] == []
    now = shown(gateway)
    assert now["activity"] == {**told(("dags", "a.py"), ("theirs", "sub/b.py")), "at": beat["recordedAt"]}
    assert now["latestHeartbeat"] > beat["recordedAt"]
    assert shown(gateway, ("dags",))["activity"]["parsing"] == told(("dags", "a.py"))["parsing"]
    assert processor.send("Heartbeat", activity=told(queued=0, undelivered=0))["status"] == "ACCEPTED"
    assert shown(gateway)["activity"]["parsing"] == []
    processor.send("CompleteJob", input={"state": "SUCCESS"})
    assert processor.send("Heartbeat", activity=told())["reason"] == "JOB_CLOSED"
    assert shown(gateway)["activity"] is None


@pytest.mark.parametrize(
    ("activity", "reason"),
    [
        (told(*[("dags", f"{n}.py") for n in range(33)]), "INVALID_ARGUMENT"),
        (told(queued=-1), "INVALID_ARGUMENT"),
        (told(undelivered=-1), "INVALID_ARGUMENT"),
        (told(("theirs", "a.py")), "BUNDLE_NOT_GRANTED"),
        (told(("dags", "../a.py")), "INVALID_PATH"),
        (told(("dags", "a\0.py")), "INVALID_PATH"),
        (told(("dags", "x" * 2001)), "INVALID_PATH"),
        (told(("dags", "a\ud800.py")), "INVALID_PATH"),
    ],
)
def test_an_activity_that_makes_no_sense_is_refused_and_nothing_of_it_kept(
    gateway: Gateway, activity: dict[str, Any], reason: str
) -> None:
    processor = RegisteredProcessor(gateway, ["dags"])
    before = shown(gateway)

    assert processor.send("Heartbeat", activity=activity)["reason"] == reason
    assert shown(gateway) == before
