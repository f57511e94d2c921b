"""A deployment of several teams, each with a bundle of its own; and one bundle of no team."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

BUNDLES: Mapping[str, str | None] = {"red-dags": "red", "blue-dags": "blue", "dags": None}


@pytest.fixture
def multi_team(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")


def make_teams() -> None:
    """The bundles of :data:`BUNDLES`, which must be synced, belong to their teams."""
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.team import Team

    from parsegate.resolvers.database import transaction

    with transaction() as session:
        for bundle, team in BUNDLES.items():
            if team is not None:
                session.get_one(DagBundleModel, bundle).teams = [Team(name=team)]
        session.flush()


def file_of(bundle: str) -> dict[str, str]:
    """A ``FileReferenceInput``."""
    return {"bundleName": bundle, "relativeFileloc": "a.py"}
