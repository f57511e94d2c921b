"""What Airflow's auth manager lets a user read, as bundles; tests/e2e/test_airflow_ui.py logs in for real."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, TeamDetails
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow_database import AirflowDatabase
from parse_state_rows import add_bundle, add_dags, add_files, dag_row, file_row

from parsegate.gateway.airflow_login import granted_bundles

pytestmark = pytest.mark.any_database

JANE = SimpleAuthManagerUser(username="jane", role="viewer")


class Restricting(SimpleAuthManager):
    """Airflow's simple auth manager, with some of what others have: rights to single DAGs and views."""

    def __init__(self, dag_ids: Collection[str], *, views: Collection[AccessView], code: bool, teams: Collection[str]):
        super().__init__()
        self._dag_ids, self._views, self._code, self._teams = set(dag_ids), views, code, teams

    def filter_authorized_dag_ids(self, *, dag_ids: set[str], **_: Any) -> set[str]:
        return dag_ids & self._dag_ids

    def is_authorized_view(self, *, access_view: AccessView, user: Any) -> bool:
        return access_view in self._views

    def is_authorized_dag(self, *, access_entity: DagAccessEntity | None = None, **_: Any) -> bool:
        return self._code or access_entity is not DagAccessEntity.CODE

    def is_authorized_team(self, *, details: TeamDetails | None = None, **_: Any) -> bool:
        return details is not None and details.name in self._teams


def granted(
    dag_ids: Collection[str] = ("a", "b", "c"),
    *,
    views: Collection[AccessView] = tuple(AccessView),
    code: bool = True,
    teams: Collection[str] = (),
) -> frozenset[str]:
    return granted_bundles(Restricting(dag_ids, views=views, code=code, teams=teams), JANE)  # pyright: ignore


@pytest.fixture(autouse=True)
def two_bundles(airflow_database: AirflowDatabase) -> None:
    for bundle in ("one", "two", "broken"):
        add_bundle(bundle)
    add_dags(dag_row("a", "a.py", "one"), dag_row("b", "b.py", "two"), dag_row("c", "c.py", "two"))
    add_files(file_row("d.py", "broken", import_error_count=1))


def test_who_may_read_every_dag_reads_all_bundles() -> None:
    assert granted() == {"*"}
    assert granted_bundles(SimpleAuthManager(), JANE) == {"*"}


def test_a_bundle_is_read_by_those_who_may_read_all_of_its_dags() -> None:
    assert granted(["a", "b"]) == {"one"}
    assert granted(["b", "c"]) == {"two"}
    assert granted(["c"]) == set()


@pytest.mark.parametrize(
    "lacking",
    [
        {"views": [AccessView.IMPORT_ERRORS]},
        {"views": [AccessView.JOBS]},
        {"code": False},
    ],
    ids=["jobs", "import errors", "code"],
)
def test_without_one_of_the_rights_nothing_is_read(lacking: dict[str, Any]) -> None:
    assert granted(**lacking) == set()


def test_a_team_s_bundle_is_its_own_when_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.models.team import Team, dag_bundle_team_association_table
    from parse_state_rows import insert

    insert(Team, {"name": "red"})
    insert(dag_bundle_team_association_table, {"dag_bundle_name": "broken", "team_name": "red"})
    assert granted() == {"*"}

    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")

    assert granted() == {"one", "two"}
    assert granted(teams=["red"]) == {"*"}
