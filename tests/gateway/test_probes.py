"""``/health`` and ``/ready``: open to anyone; the second tells whether the gateway could work."""

from __future__ import annotations

from airflow_database import AirflowDatabase, AirflowDatabases
from gateway_app import Gateway
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from parsegate.gateway.db_manager import ParsegateDBManager
from parsegate.gateway.migrate import migrate
from parsegate.resolvers.database import airflow_engine, transaction

READY = {"database": "ready", "airflow_migrations": "ready", "parsegate_migrations": "ready"}


def readiness(gateway: Gateway) -> tuple[int, dict[str, str]]:
    response = gateway.http.get("/ready")
    return response.status_code, response.json()["checks"]


def test_health_does_not_touch_the_database(gateway: Gateway) -> None:
    checkouts: list[object] = []
    event.listen(airflow_engine(), "checkout", lambda *arguments: checkouts.append(arguments))
    assert gateway.http.get("/health").json() == {"status": "ok"}
    assert checkouts == []
    gateway.http.get("/ready")
    assert checkouts != []


def test_ready_on_a_migrated_database(gateway: Gateway) -> None:
    assert readiness(gateway) == (200, READY)


def test_not_ready_before_the_migrations(airflow_databases: AirflowDatabases) -> None:
    database = airflow_databases.create_empty()
    with database.in_use():
        gateway = Gateway(database)
        expected = {"database": "ready", "airflow_migrations": "not at head", "parsegate_migrations": "not at head"}
        assert readiness(gateway) == (503, expected)
        migrate()
        assert readiness(gateway) == (503, {**expected, "parsegate_migrations": "ready"})
        migrate(with_airflow=True)
        assert readiness(gateway) == (200, READY)
    airflow_databases.drop(database)


def test_not_ready_when_only_our_tables_are_missing(airflow_database: AirflowDatabase, gateway: Gateway) -> None:
    with Session(airflow_engine()) as session, session.connection() as connection:
        ParsegateDBManager(session).drop_tables(connection)
        connection.commit()
    assert readiness(gateway) == (503, {**READY, "parsegate_migrations": "not at head"})


def test_not_ready_on_a_database_of_another_version(gateway: Gateway) -> None:
    with transaction() as session:
        session.execute(text("UPDATE parsegate_alembic_version SET version_num = '9999'"))
    assert readiness(gateway) == (503, {**READY, "parsegate_migrations": "not at head"})


def test_not_ready_and_still_healthy_when_the_database_is_gone(airflow_databases: AirflowDatabases) -> None:
    gone = airflow_databases.create()
    with gone.in_use():
        gateway = Gateway(gone)
        assert readiness(gateway) == (200, READY)
        airflow_engine().dispose()
        airflow_databases.drop(gone)
        if gone.path is not None:
            # SQLite would make an empty file in its place.
            gone.path.mkdir()
        status, checks = readiness(gateway)
        assert (status, checks) == (503, {"database": "unreachable"})
        assert gateway.http.get("/health").status_code == 200
        if gone.path is not None:
            gone.path.rmdir()


def test_probes_need_no_token_and_tell_no_details(gateway: Gateway) -> None:
    for path in ("/health", "/ready"):
        response = gateway.http.get(path, headers={"Authorization": "Bearer garbage"})
        assert response.status_code == 200
        assert gateway.database.name not in response.text
