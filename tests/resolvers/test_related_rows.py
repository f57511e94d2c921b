"""What belongs to DAGs in other tables, read in one statement."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from dag_content import DagContent, FileContent
from other_writers import create_next_run, finish_runs, trigger_run
from registered_processor import RegisteredProcessor

IS_PARTITIONED = {"daily": False, "hourly": False, "partitioned": True, "minutely": False}


def test_runs_are_those_that_airflow_finds_for_each_dag(processor: RegisteredProcessor) -> None:
    from airflow.dag_processing import collection
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session

    from parsegate.resolvers import latest_runs, related_rows

    dags = tuple(DagContent(schedule, schedule) for schedule in IS_PARTITIONED)
    processor.record_files(FileContent("a.py", dags).parsed(Path("/bundles"), datetime.now(UTC)))
    with create_session() as session:
        for write in (
            *(create_next_run(dag_id) for dag_id in ("daily", "partitioned", "hourly")),
            finish_runs("daily"),
            create_next_run("daily"),
            trigger_run("daily", "by_hand"),
            trigger_run("minutely", "by_hand"),
        ):
            write(session)
            session.flush()
    with create_session() as session:
        found = related_rows.read(session, list(IS_PARTITIONED), [], [("dags", "a.py")], IS_PARTITIONED.items()).runs
        session.expunge_all()
        for dag_id, is_partitioned in IS_PARTITIONED.items():
            dag = SerializedDagModel.get_dag(dag_id, session=session)
            airflows = collection._RunInfo.calculate(dag, session=session)  # pyright: ignore
            (ours,) = found[dag_id].items()
            assert ours[0] is is_partitioned
            latest, active = ours[1]
            assert active == airflows.num_active_runs == (2 if dag_id == "daily" else 1)
            assert (latest is None) == (airflows.latest_run is None) == (dag_id == "minutely")
            for attribute in latest_runs.COLUMNS if latest is not None else ():
                assert getattr(latest, attribute.key) == getattr(airflows.latest_run, attribute.key), attribute


def test_a_timetable_can_look_at_all_of_a_run(processor: RegisteredProcessor) -> None:
    """Most of it is loaded only then."""
    from airflow.utils.session import create_session

    from parsegate.resolvers import related_rows

    dag = DagContent("dag", "daily")
    processor.record_files(FileContent("a.py", (dag,)).parsed(Path("/bundles"), datetime.now(UTC)))
    with create_session() as session:
        create_next_run("dag")(session)
    with create_session() as session:
        (runs,) = related_rows.read(session, ["dag"], [], [("dags", "a.py")], [("dag", False)]).runs["dag"].values()
        assert runs.latest is not None
        assert "run_type" not in vars(runs.latest)
        assert (runs.latest.run_type, runs.latest.run_id[:11]) == ("scheduled", "scheduled__")
