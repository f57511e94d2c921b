"""Fixtures for tests of the processor's side: the gateway over HTTP, and agents in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_process import AgentProcess, StartAgent
from faulty_gateway import FaultyGateway
from gateway_app import Gateway


def pytest_itemcollected(item: pytest.Item) -> None:
    """What the gateway stores is for its own tests; here it only has to answer."""
    item.add_marker(pytest.mark.any_database)


@pytest.fixture
def served(gateway: Gateway) -> Iterator[FaultyGateway]:
    served = FaultyGateway(gateway)
    served.start()
    yield served
    served.stop()


@pytest.fixture
def start_agent(served: FaultyGateway, tmp_path: Path) -> Iterator[StartAgent]:
    agents: list[AgentProcess] = []

    def start(**options: Any) -> AgentProcess:
        token_path = tmp_path / "token"
        if not token_path.exists():
            served.mint(token_path)
        options = {"poll_interval": 0.3, "gather_time": 0.1, "read_timeout": 2.0, "farewell_timeout": 4.0, **options}
        options.setdefault("unchanged_gather_time", options["gather_time"])
        agents.append(AgentProcess(tmp_path, served.url, token_path, **options))
        return agents[-1]

    yield start
    for agent in agents:
        agent.kill()
