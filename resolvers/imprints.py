"""Recognising a result whose writing would change nothing, by what an earlier one left in Airflow's tables.

Right after a result is written, the rows that it determines are read back, and their digest, the imprint, goes into
the file ledger beside the result's fingerprint. When a result with this fingerprint comes again, and the same reading
gives the same imprint, then writing it again would change nothing but what Airflow computes anew at each parse
(``RECOMPUTED`` of :mod:`.written_rows`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from airflow.configuration import conf

from . import schedules, written_rows
from .decoded_dag import has_deadline
from .related_rows import WARNING_TYPES
from .writer_epoch import writer_epoch
from .written_rows import DagRows, WrittenRows

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from .attempts import Attempt
    from .ledger import FileKey
    from .tables import ParsedFile


class Written(msgspec.Struct, frozen=True):
    """Names what a result wrote; kept as JSON in the file ledger.

    :param dags: by DAG id, what its next run is computed from (:func:`.schedules.note`)
    :param asset_aliases: names of those that its DAGs mention
    :param import_error: whether the file is recorded with an import error
    """

    dags: dict[str, dict[str, Any]]
    asset_aliases: list[str]
    import_error: bool


@dataclass(frozen=True)
class Imprint:
    """What is there now of what a result wrote.

    :param digest: None when something of it is missing, or when Airflow would try to change it at every parse
    :param dags: by DAG id
    """

    digest: str | None
    dags: dict[str, DagRows]


def current(
    session: Session,
    written: Mapping[FileKey, Written],
    scheduled: Collection[tuple[str, bool]] = (),
    stored_at: Mapping[str, datetime] | None = None,
) -> dict[FileKey, Imprint]:
    """The imprints of these files as the tables are now; the rows of their DAGs are locked.

    :param scheduled: as in :func:`.written_rows.read`
    :param stored_at: likewise
    """
    rows = written_rows.read(
        session,
        {dag_id for file in written.values() for dag_id in file.dags},
        {name for file in written.values() for name in file.asset_aliases},
        written.keys(),
        scheduled,
        stored_at,
    )
    epoch = writer_epoch()
    return {key: _imprint(key, file, rows, epoch) for key, file in written.items()}


def remember(session: Session, stored: Mapping[Attempt, ParsedFile]) -> None:
    """Note in the ledger what these results left, as far as they can be recognised when they come again.

    :param stored: attempts that were just written in this transaction, each with the row of its file
    """
    written = {attempt.file: _written(attempt) for attempt in stored if _recognisable(attempt)}
    imprints = current(session, written)
    for attempt, entry in stored.items():
        imprint = imprints.get(attempt.file)
        recognised = imprint is not None and imprint.digest is not None and _is_there(attempt, imprint)
        entry.fingerprint = attempt.result.fingerprint if recognised else None
        entry.imprint = imprint.digest if imprint and recognised else None
        entry.written = msgspec.to_builtins(written[attempt.file]) if recognised else None


def _recognisable(attempt: Attempt) -> bool:
    """Whether rows alone can tell that writing this result again would change nothing."""
    result, dags = attempt.result, attempt.dags
    if result.fingerprint is None:
        return False
    if "FabAuthManager" in conf.get("core", "auth_manager"):
        # Airflow synchronises permissions at every parse, in tables of another provider.
        return False
    if any(has_deadline(dag.data) for dag in dags):
        # Airflow compares deadlines with the alerts that were made of them, one by one.
        return False
    dag_ids = {dag.dag_id for dag in dags}
    if any(warning.warning_type not in WARNING_TYPES or warning.dag_id not in dag_ids for warning in result.warnings):
        # A warning is written for a DAG of another result, whose rows are not looked at here.
        return False
    # A file inside a zip has an error of its own, next to DAGs of its neighbours.
    return not result.import_errors or (
        not dags and [path for path, _ in result.import_errors] == [result.relative_fileloc]
    )


def _written(attempt: Attempt) -> Written:
    return Written(
        dags={dag.dag_id: schedules.note(dag) for dag in attempt.dags},
        asset_aliases=sorted(attempt.assets.asset_aliases),
        import_error=bool(attempt.result.import_errors),
    )


def _is_there(attempt: Attempt, imprint: Imprint) -> bool:
    # ``min_serialized_dag_update_interval`` can have left an older document in place.
    return all(imprint.dags[dag.dag_id].version.dag_hash == dag.hash for dag in attempt.dags)


def _imprint(key: FileKey, written: Written, rows: WrittenRows, epoch: str) -> Imprint:
    dags = {dag_id: rows.dags[dag_id] for dag_id in sorted(written.dags) if dag_id in rows.dags}
    aliases = [rows.aliases[name] for name in written.asset_aliases if name in rows.aliases]
    errors = rows.import_errors.get(key, [])
    is_whole = (
        len(dags) == len(written.dags)
        and len(aliases) == len(written.asset_aliases)
        and len(errors) == written.import_error
        and all(
            dag.assets_are_active
            and dag.version.dag_hash is not None
            and dag.version.source_hash is not None
            and dag.version.bundle_name == key[0]
            for dag in dags.values()
        )
    )
    if not is_whole:
        return Imprint(None, dags)
    facts = [(dag.dag, dag.version, dag.others, dag.assets) for dag in dags.values()]
    return Imprint(
        hashlib.blake2b(msgspec.msgpack.encode((epoch, facts, aliases, errors)), digest_size=16).hexdigest(), dags
    )
