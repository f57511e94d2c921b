"""Login codes that were used: none is taken twice, even by two replicas at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from parse_state_rows import insert

from parsegate.resolvers.database import reading, transaction
from parsegate.resolvers.logins import CodeUsed, record_login
from parsegate.resolvers.tables import Login

pytestmark = pytest.mark.usefixtures("airflow_database")


def recorded() -> set[str]:
    with reading() as session:
        return {login.id for login in session.query(Login)}


def test_of_those_who_use_a_code_at_once_one_gets_in() -> None:
    start = threading.Barrier(4)

    def use(_: int) -> bool:
        start.wait(10)
        try:
            with transaction() as session:
                record_login(session, "code")
        except CodeUsed:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(use, range(4))) == [False, False, False, True]
    assert recorded() == {"code"}


def test_a_use_is_forgotten_when_no_code_lives_that_long() -> None:
    now = datetime.now(UTC)
    insert(Login, *({"id": f"{hours}", "redeemed_at": now - timedelta(hours=hours)} for hours in (1, 23, 25)))

    with transaction() as session:
        record_login(session, "new")

    assert recorded() == {"1", "23", "new"}
