"""What the log says of trouble with the gateway."""

from __future__ import annotations

import logging
import time

import pytest

from parsegate.client.outage import Outage
from parsegate.client.transport import GatewayUnreachable, TokenRefused


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "parsegate.client.outage")
    return caplog


def test_an_outage_is_told_when_it_begins_and_when_it_ends(told: pytest.LogCaptureFixture) -> None:
    outage = Outage("The gateway")
    for _ in range(3):
        outage.failed(GatewayUnreachable("nobody listens", "1"))
    assert outage.succeeded(time.monotonic())
    assert [record.message.partition(" after ")[0] for record in told.records] == [
        "The gateway fails: nobody listens (request 1). Retrying.",
        "The gateway works again",
    ]


def test_an_answer_to_what_was_sent_before_the_outage_does_not_end_it(told: pytest.LogCaptureFixture) -> None:
    outage = Outage("The gateway")
    began = time.monotonic()
    time.sleep(0.001)
    outage.failed(GatewayUnreachable("nobody listens", "1"))
    assert not outage.succeeded(began)
    assert outage.lasts
    outage.failed(GatewayUnreachable("nobody listens", "2"))
    assert len(told.records) == 1


def test_trouble_of_another_kind_is_told_too(told: pytest.LogCaptureFixture) -> None:
    outage = Outage("The gateway")
    outage.failed(GatewayUnreachable("nobody listens", "1"))
    outage.failed(TokenRefused("expired", "2"))
    assert len(told.records) == 2
