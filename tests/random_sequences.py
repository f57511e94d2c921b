"""Sequences of steps made up by Hypothesis: a few files that are parsed again and again while the world moves on."""

from __future__ import annotations

from typing import Any

import other_writers
from dag_content import SCHEDULES, AssetContent, DagContent, FileContent
from hypothesis import strategies as st
from parse_steps import (
    Configure,
    DeactivateStale,
    Others,
    Parse,
    PurgeWarnings,
    Reconcile,
    Refresh,
    Step,
    SyncBundles,
    TimeOut,
    Wait,
)

DAG_IDS = ("one", "two", "three")
PATHS = {"dags": ("a.py", "b.py"), "more": ("a.py",)}


def _mostly(value: Any, *others: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([value] * len(others) + list(others)) if others else st.just(value)


ASSETS = st.builds(
    AssetContent,
    name=st.sampled_from(["orders", "items"]),
    uri=_mostly(None, "x-test://shared/"),
    group=_mostly("asset", "shop"),
    extra=_mostly(None, "table"),
    watched=_mostly(None, "inbox", "outbox"),
    teams=_mostly((), ("a",)),
)
SOME_ASSETS = st.lists(ASSETS, max_size=2, unique_by=lambda asset: (asset.name, asset.address)).map(tuple)
DAGS = st.builds(
    DagContent,
    dag_id=st.sampled_from(DAG_IDS),
    schedule=st.sampled_from(sorted(SCHEDULES)),
    tags=st.lists(st.sampled_from(["x", "y", "z"]), max_size=2, unique=True).map(tuple),
    owner=_mostly(None, "ada", "bob"),
    owner_link=_mostly(None, "https://example.com/a", "https://example.com/b"),
    catchup=st.booleans(),
    tasks=st.integers(1, 2),
    reads=st.lists(ASSETS, min_size=1, max_size=2, unique_by=lambda asset: (asset.name, asset.address)).map(tuple),
    writes=SOME_ASSETS,
    alias=st.sampled_from(["found", "lost"]),
    deadline=_mostly(None, "late"),
    settings=_mostly((), (("description", "Described"),), (("is_paused_upon_creation", False),)),
)
FILES = st.one_of(
    *(
        st.builds(
            FileContent,
            path=st.sampled_from(paths),
            bundle=st.just(bundle),
            dags=st.lists(DAGS, max_size=2, unique_by=lambda dag: dag.dag_id).map(tuple),
            error=_mostly(None, "NameError"),
            comment=_mostly("", "edited"),
            version=_mostly(None, "v1", "v2"),
            version_data=_mostly(None, "main"),
            parse_duration=_mostly(0.25, 1.5),
        )
        for bundle, paths in PATHS.items()
    )
)
DAG_ID = st.sampled_from(DAG_IDS)
BUNDLE = st.sampled_from(sorted(PATHS))


def _others(make: Any, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(*arguments).map(lambda drawn: Others(make, *drawn))


def _lost_rows(table: str) -> st.SearchStrategy[Step]:
    return DAG_ID.map(lambda dag_id: Others(other_writers.delete_rows, table, dag_id=dag_id))


EVENTS: st.SearchStrategy[Step] = st.one_of(
    st.sampled_from([1, 20, 40, 3600, 90000]).map(Wait),
    st.sampled_from([1, 20, 40, 3600, 90000]).map(Wait),
    st.sampled_from(["0", "30"]).map(lambda seconds: Configure(core__min_serialized_dag_update_interval=seconds)),
    st.sampled_from(["16", "1"]).map(lambda runs: Configure(core__max_active_runs_per_dag=runs)),
    BUNDLE.flatmap(
        lambda bundle: st.sets(st.sampled_from(PATHS[bundle])).map(
            lambda present: Reconcile(bundle, tuple(sorted(present)))
        )
    ),
    st.just(DeactivateStale()),
    st.just(PurgeWarnings()),
    # Both bundles stay configured: nobody parses files of one that is not.
    st.just(SyncBundles(("dags", "more"))),
    st.builds(Refresh, BUNDLE, st.sampled_from([None, "v1", "v2"])),
    _others(other_writers.set_paused, DAG_ID, st.booleans()),
    _others(other_writers.set_paused, DAG_ID, st.just(False)),
    _others(other_writers.create_next_run, DAG_ID),
    _others(other_writers.create_next_run, DAG_ID),
    DAG_ID.map(lambda dag_id: Others(other_writers.create_next_run, dag_id, updating_the_next=False)),
    _others(other_writers.trigger_run, DAG_ID, st.sampled_from(["first", "second"])),
    _others(other_writers.finish_runs, DAG_ID),
    _others(other_writers.delete_last_run, DAG_ID),
    _others(other_writers.delete_dag, DAG_ID),
    _lost_rows("serialized_dag"),
    _lost_rows("dag_code"),
    _lost_rows("dag_tag"),
    _lost_rows("dag_schedule_asset_reference"),
    st.just(Others(other_writers.delete_rows, "asset_active")),
    st.just(Others(other_writers.review_assets)),
    DAG_ID.map(lambda dag_id: Others(other_writers.set_columns, "dag", {"dag_id": dag_id}, is_stale=True)),
)


@st.composite
def sequences(draw: st.DrawFn, longest: int) -> list[Step]:
    """A few files, and what happens to them and around them: one thing after the other, each followed by up to two
    parses of all files as they were at first, because an unchanged parse is what matters most.

    :param longest: as many things happen at most
    """
    pool = draw(st.lists(FILES, min_size=1, max_size=3, unique_by=lambda file: (file.bundle, file.path)))
    warned = [
        FileContent(**{**vars(file), "warned": ((file.dags[0].dag_id, "varies"),)})
        for file in pool[:1]
        if file.dags and not file.error
    ]
    content = st.sampled_from(pool + warned + draw(st.lists(FILES, max_size=2)))
    parse = st.lists(content, min_size=1, max_size=3).map(lambda files: Parse(*files))
    other = st.one_of(
        content.map(TimeOut), content.map(lambda file: Others(other_writers.reserialize, file)), EVENTS, EVENTS, EVENTS
    )
    happenings = draw(st.lists(st.tuples(st.one_of(parse, other), st.integers(0, 2)), min_size=1, max_size=longest))
    again = Parse(*pool)
    return [again, *(step for event, times in happenings for step in (event, *[again] * times)), again, again]
