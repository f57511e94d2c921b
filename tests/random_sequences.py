"""Sequences of steps made up by Hypothesis: a few files that are parsed again and again while the world moves on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import other_writers
from dag_content import SCHEDULES, AssetContent, DagContent, FileContent
from disruptions import InterruptedAt
from hypothesis import strategies as st
from parse_steps import (
    Configure,
    DeactivateStale,
    Others,
    Parse,
    PurgeWarnings,
    Reconcile,
    Refresh,
    Restart,
    Step,
    SyncBundles,
    TimeOut,
    Wait,
)

FILE_DAGS = {
    ("dags", "a.py"): ("one", "two"),
    ("dags", "b.py"): ("three",),
    ("more", "a.py"): ("four",),
}
"""By bundle and path, the DAGs that are at home in a file; now and then one is found in another."""
DAG_IDS = [dag_id for dag_ids in FILE_DAGS.values() for dag_id in dag_ids]


def _mostly(value: Any, *others: Any) -> st.SearchStrategy[Any]:
    """What keeps a file from being recognised must be rare, or else hardly any of those with DAGs ever is."""
    return st.sampled_from([value] * 6 * len(others) + list(others))


def _any_of(*strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One of these, each as likely: in ``one_of`` each of the alternatives that one of them has would count as much."""
    return st.sampled_from(strategies).flatmap(lambda strategy: strategy)


ASSETS = st.builds(
    AssetContent,
    name=st.sampled_from(["orders", "items"]),
    uri=_mostly(None, "x-test://shared/"),
    group=_mostly("asset", "shop"),
    extra=_mostly(None, "table"),
    watched=_mostly(None, "inbox"),
    teams=_mostly((), ("a",)),
)
SOME_ASSETS = st.lists(ASSETS, max_size=2, unique_by=lambda asset: (asset.name, asset.address)).map(tuple)
DAG_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "schedule": st.sampled_from(sorted(SCHEDULES)),
    "tags": st.lists(st.sampled_from(["x", "y", "z"]), max_size=2, unique=True).map(tuple),
    "owner": _mostly(None, "ada", "bob"),
    "owner_link": _mostly(None, "https://example.com/a", "https://example.com/b"),
    "catchup": st.booleans(),
    "tasks": st.integers(1, 2),
    "reads": st.lists(ASSETS, min_size=1, max_size=2, unique_by=lambda asset: (asset.name, asset.address)).map(tuple),
    "writes": SOME_ASSETS,
    "alias": st.sampled_from(["found", "lost"]),
    "deadline": _mostly(None, None, "late"),
    "settings": _mostly(
        (), (("description", "Described"),), (("is_paused_upon_creation", False),), (("max_active_runs", 1),)
    ),
}
FILE_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "error": _mostly(None, "NameError"),
    "comment": st.sampled_from(["", "edited"]),
    "version": st.sampled_from([None, "v1", "v2"]),
    "version_data": st.sampled_from([None, "main"]),
    "parse_duration": st.sampled_from([0.25, 1.5]),
}


def _file_fields(bundle: str, path: str) -> dict[str, st.SearchStrategy[Any]]:
    dag_ids = st.sampled_from([*FILE_DAGS[bundle, path] * 12, *DAG_IDS])
    dags = st.builds(DagContent, dag_id=dag_ids, **DAG_FIELDS)
    return {**FILE_FIELDS, "dags": _mostly(1, 0).flatmap(lambda fewest: _lists(dags, fewest, lambda dag: dag.dag_id))}


def _lists(items: st.SearchStrategy[Any], fewest: int, key: Any) -> st.SearchStrategy[Any]:
    return st.lists(items, min_size=fewest, max_size=2, unique_by=key).map(tuple)


FILES = st.one_of(
    *(
        st.builds(FileContent, path=st.just(path), bundle=st.just(bundle), **_file_fields(bundle, path))
        for bundle, path in FILE_DAGS
    )
)


def _changed(content: Any, fields: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """``content`` with one of its fields drawn anew."""
    return st.sampled_from(sorted(fields)).flatmap(
        lambda name: fields[name].map(lambda value: replace(content, **{name: value}))
    )


def _edited(file: FileContent) -> st.SearchStrategy[FileContent]:
    """The file with one thing in it, or in one of its DAGs, drawn anew."""
    of_dags = [
        _changed(dag, DAG_FIELDS).map(
            lambda edited, number=number: replace(file, dags=(*file.dags[:number], edited, *file.dags[number + 1 :]))
        )
        for number, dag in enumerate(file.dags)
    ]
    return st.one_of(_changed(file, _file_fields(file.bundle, file.path)), *of_dags, *of_dags)


DAG_ID = st.sampled_from(DAG_IDS)
BUNDLE = st.sampled_from(["dags", "more"])


def _others(make: Any, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(*arguments).map(lambda drawn: Others(make, *drawn))


def _lost_rows(table: str) -> st.SearchStrategy[Step]:
    return DAG_ID.map(lambda dag_id: Others(other_writers.delete_rows, table, dag_id=dag_id))


Happening = Step | tuple[Step, ...]
BOTH_BUNDLES = SyncBundles(("dags", "more"))
EVENTS: st.SearchStrategy[Happening] = st.one_of(
    st.sampled_from(["0", "30"]).map(lambda seconds: Configure(core__min_serialized_dag_update_interval=seconds)),
    st.sampled_from(["16", "1"]).map(lambda runs: Configure(core__max_active_runs_per_dag=runs)),
    BUNDLE.flatmap(
        lambda bundle: st.sets(st.sampled_from([path for name, path in FILE_DAGS if name == bundle])).map(
            lambda present: Reconcile(bundle, tuple(sorted(present)))
        )
    ),
    st.just(PurgeWarnings()),
    # Nobody parses files of a bundle that is not configured.
    BUNDLE.map(lambda bundle: (SyncBundles((bundle,)), BOTH_BUNDLES)),
    st.just(BOTH_BUNDLES),
    st.builds(Refresh, BUNDLE, st.sampled_from([None, "v1", "v2"])),
    _others(other_writers.set_paused, DAG_ID, st.booleans()),
    _others(other_writers.set_paused, DAG_ID, st.just(False)),
    _others(other_writers.create_next_run, DAG_ID),
    _others(other_writers.create_next_run, DAG_ID),
    DAG_ID.map(lambda dag_id: Others(other_writers.create_next_run, dag_id, updating_the_next=False)),
    _others(other_writers.trigger_run, DAG_ID, st.sampled_from(["first", "second"])),
    _others(other_writers.create_backfill_run, DAG_ID, st.sampled_from([1, 2])),
    _others(other_writers.finish_runs, DAG_ID),
    _others(other_writers.delete_last_run, DAG_ID),
    _others(other_writers.delete_dag, DAG_ID),
    _lost_rows("serialized_dag"),
    _lost_rows("dag_code"),
    _lost_rows("dag_tag"),
    _lost_rows("dag_owner_attributes"),
    _lost_rows("dag_schedule_asset_reference"),
    _lost_rows("task_outlet_asset_reference"),
    _others(
        other_writers.clean,
        st.sampled_from(["dag", "dag_version", "dag_run", "task_instance"]),
        st.sampled_from([0, 60]),
    ),
    st.just(Others(other_writers.delete_rows, "asset_active")),
    st.just(Others(other_writers.review_assets)),
    DAG_ID.map(lambda dag_id: Others(other_writers.set_columns, "dag", {"dag_id": dag_id}, is_stale=True)),
)


WAITS = st.sampled_from([1, 20, 40, 3600, 90000]).map(Wait)
# Not both in one sequence: of a processor that started anew stock knows no file as parsed, the gateway's ledger does.
FORGETTING: tuple[Happening, ...] = (DeactivateStale(), (Restart(), BOTH_BUNDLES))


def _parses(contents: Sequence[FileContent]) -> st.SearchStrategy[Parse]:
    return st.lists(st.sampled_from(contents), min_size=1, max_size=3).map(lambda files: Parse(*files))


@st.composite
def sequences(draw: st.DrawFn, longest: int) -> list[Step]:
    """A few files, and what happens to them and around them: one thing after the other, each followed by up to two
    parses of all files as they were at first, because an unchanged parse is what matters most.

    :param longest: as many things happen at most
    """
    pool = draw(st.lists(FILES, min_size=1, max_size=3, unique_by=lambda file: (file.bundle, file.path)))
    warned = [
        replace(file, warned=((file.dags[0].dag_id, "varies"),)) for file in pool[:1] if file.dags and not file.error
    ]
    edited = draw(st.lists(st.sampled_from(pool).flatmap(_edited), max_size=2))
    contents = pool + warned + edited + draw(st.lists(FILES, max_size=2))
    content = st.sampled_from(contents)
    # Of an import error listeners hear at each try, and Airflow tries that once.
    storable = [file for file in contents if not file.error]
    disturbed = st.one_of(
        content.map(TimeOut),
        content.map(lambda file: Others(other_writers.reserialize, file)),
        st.just(draw(st.sampled_from(FORGETTING))),
        *([st.builds(InterruptedAt, _parses(storable), st.integers(1, 60))] if storable else []),
    )
    parse = _parses(contents)
    happening = _any_of(parse, parse, disturbed, WAITS, EVENTS, EVENTS, EVENTS)
    happenings = draw(st.lists(st.tuples(happening, st.integers(0, 2)), min_size=1, max_size=longest))
    again = Parse(*pool)
    steps: list[Step] = [again]
    for step, times in happenings:
        steps += [*(step if isinstance(step, tuple) else (step,)), *[again] * times]
    return [*steps, again, again]
