"""Single items of what operators read, by their keys: what a client knows the id of, and reads again.

A key is what tells an item from the others of its kind. Items of bundles that the caller's token does not grant are not
found, like those that do not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagwarning import DagWarning
from airflow.models.errors import ParseImportError
from sqlalchemy import tuple_

from . import bundle_versions, parse_state, processors
from .pages import is_storable
from .pending_callbacks import pending_callbacks
from .tables import ParsedFile, Processor

if TYPE_CHECKING:
    from sqlalchemy.orm import InstrumentedAttribute, Session

    from .pages import Row, SelectListing
    from .principal import Principal

Key = tuple[Any, ...]


class NodeKind(Enum):
    """Kinds of items, by the names of the types that show them."""

    BUNDLE = "Bundle"
    FILE = "ParsedFile"
    DAG = "Dag"
    IMPORT_ERROR = "ImportError"
    DAG_WARNING = "DagWarning"
    PROCESSOR = "Processor"
    PENDING_CALLBACK = "PendingCallback"
    BUNDLE_VERSION = "BundleVersion"


@dataclass(frozen=True)
class _Source:
    """How the items of a kind are found.

    :param types: of the values of a key
    :param found: rows by key
    """

    types: tuple[type[str] | type[int], ...]
    found: Callable[[Session, Principal, Collection[Key]], Mapping[Key, Row]]


def is_key(kind: NodeKind, key: Key) -> bool:
    """Whether there could be an item of this kind with this key."""
    types = _SOURCES[kind].types
    return len(key) == len(types) and all(
        type(value) is type_ and (is_storable(value) if isinstance(value, str) else abs(value) < 2**31)
        for value, type_ in zip(key, types, strict=True)
    )


def key_types(kind: NodeKind) -> tuple[type[str] | type[int], ...]:
    """Of which types the values of a key are."""
    return _SOURCES[kind].types


def found(session: Session, principal: Principal, keys: Collection[tuple[NodeKind, Key]]) -> dict[Any, Row]:
    """The rows of those items that there are, with a query for each kind, or two for pending callbacks."""
    rows: dict[tuple[NodeKind, Key], Row] = {}
    for kind in NodeKind:
        wanted = [key for of_kind, key in keys if of_kind is kind]
        if wanted:
            of_this = _SOURCES[kind].found(session, principal, wanted)
            rows.update({(kind, key): row for key, row in of_this.items()})
    return rows


def _selected(
    session: Session, listing: SelectListing, columns: Sequence[InstrumentedAttribute[Any]], keys: Collection[Key]
) -> dict[Key, Row]:
    labels = [column.label(f"_key_{index}") for index, column in enumerate(columns)]
    statement = listing.statement.add_columns(*labels).where(tuple_(*columns).in_(sorted(keys)))
    rows = [dict(row) for row in session.execute(statement).mappings()]
    return {tuple(row.pop(label.name) for label in labels): row for row in rows}


def _pending_callbacks(session: Session, principal: Principal, keys: Collection[Key]) -> dict[Key, Row]:
    rows = pending_callbacks(principal).by_id(session, [identifier for (identifier,) in keys])
    return {(identifier,): row for identifier, row in rows.items()}


def _bundle_versions(session: Session, principal: Principal, keys: Collection[Key]) -> dict[Key, Row]:
    granted = [(bundle_name, version) for bundle_name, version in keys if principal.grants_bundle(bundle_name)]
    return dict(bundle_versions.versions(session, granted)) if granted else {}


_SOURCES = {
    NodeKind.BUNDLE: _Source(
        (str,),
        lambda session, principal, keys: _selected(
            session, parse_state.bundles(principal), [DagBundleModel.name], keys
        ),
    ),
    NodeKind.FILE: _Source(
        (str, str),
        lambda session, principal, keys: _selected(
            session, parse_state.files(principal), [ParsedFile.bundle_name, ParsedFile.relative_fileloc], keys
        ),
    ),
    NodeKind.DAG: _Source(
        (str,),
        lambda session, principal, keys: _selected(session, parse_state.dags(principal), [DagModel.dag_id], keys),
    ),
    NodeKind.IMPORT_ERROR: _Source(
        (int,),
        lambda session, principal, keys: _selected(
            session, parse_state.import_errors(principal), [ParseImportError.id], keys
        ),
    ),
    NodeKind.DAG_WARNING: _Source(
        (str, str),
        lambda session, principal, keys: _selected(
            session, parse_state.dag_warnings(principal), [DagWarning.dag_id, DagWarning.warning_type], keys
        ),
    ),
    NodeKind.PROCESSOR: _Source(
        (int,),
        lambda session, principal, keys: processors.visible(
            principal,
            _selected(session, processors.processors(session, principal).listing, [Processor.job_id], keys),
        ),
    ),
    NodeKind.PENDING_CALLBACK: _Source((str,), _pending_callbacks),
    NodeKind.BUNDLE_VERSION: _Source((str, str), _bundle_versions),
}
