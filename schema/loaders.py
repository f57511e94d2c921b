"""Batches for nested fields: one query for all rows of a page, where each row's resolver asks for its own.

The loaders belong to one operation and to the event loop that it runs in, so nothing is shared or cached between
operations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from strawberry.dataloader import DataLoader

from ..resolvers import batches, bundle_versions, nodes, processors
from ..resolvers.bundle_versions import Progress, VersionKey
from ..resolvers.ledger import FileKey
from ..resolvers.nodes import Key, NodeKind
from ..resolvers.pages import Page, Row

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from .context import OperationContext

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")

MAX_BATCH = 5000
"""Keys in one query: databases limit the parameters of a statement (SQLite: 32,766, and a file's key has two)."""

NO_ROWS: list[Row] = []

NodeKey = tuple[NodeKind, Key]


class ParseStateLoaders:
    """The loaders of one operation; each is made when it is first used."""

    def __init__(self, context: OperationContext) -> None:
        self._context = context
        self._dag_pages: dict[tuple[int, str | None], DataLoader[FileKey, Page[Row]]] = {}

    @cached_property
    def nodes(self) -> DataLoader[NodeKey, Row | None]:
        principal = self._context.principal
        return self._loader(lambda session, keys: nodes.found(session, principal, keys), None)

    @cached_property
    def bundle_file_counts(self) -> DataLoader[str, int]:
        return self._loader(batches.file_counts, 0)

    @cached_property
    def bundle_failing_file_counts(self) -> DataLoader[str, int]:
        return self._loader(batches.failing_file_counts, 0)

    @cached_property
    def bundle_oldest_parses(self) -> DataLoader[str, datetime | None]:
        return self._loader(batches.oldest_parses, None)

    @cached_property
    def bundle_slowest_files(self) -> DataLoader[str, Row | None]:
        return self._loader(batches.slowest_files, None)

    @cached_property
    def bundle_dag_counts(self) -> DataLoader[str, int]:
        return self._loader(batches.dag_counts, 0)

    @cached_property
    def bundle_stale_dag_counts(self) -> DataLoader[str, int]:
        return self._loader(batches.stale_dag_counts, 0)

    @cached_property
    def bundle_import_error_counts(self) -> DataLoader[str, int]:
        return self._loader(batches.import_error_counts, 0)

    @cached_property
    def bundle_warning_counts(self) -> DataLoader[str, int]:
        return self._loader(batches.warning_counts, 0)

    @cached_property
    def files(self) -> DataLoader[FileKey, Row | None]:
        return self._loader(batches.files, None)

    @cached_property
    def file_sources(self) -> DataLoader[FileKey, str | None]:
        return self._loader(batches.sources, None)

    @cached_property
    def file_import_errors(self) -> DataLoader[FileKey, list[Row]]:
        return self._loader(batches.import_errors, NO_ROWS)

    @cached_property
    def file_dag_totals(self) -> DataLoader[FileKey, int]:
        return self._loader(batches.dag_totals, 0)

    @cached_property
    def dag_tags(self) -> DataLoader[str, list[str]]:
        return self._loader(batches.dag_tags, [])

    @cached_property
    def latest_versions(self) -> DataLoader[str, int | None]:
        return self._loader(batches.latest_versions, None)

    @cached_property
    def dag_warnings(self) -> DataLoader[str, list[Row]]:
        return self._loader(batches.dag_warnings, NO_ROWS)

    @cached_property
    def processors(self) -> DataLoader[int, Row | None]:
        principal = self._context.principal
        return self._loader(lambda session, job_ids: processors.by_job(session, principal, job_ids), None)

    @cached_property
    def versions(self) -> DataLoader[VersionKey, Row | None]:
        return self._loader(bundle_versions.versions, None)

    @cached_property
    def current_versions(self) -> DataLoader[str, Row | None]:
        return self._loader(bundle_versions.current_versions, None)

    @cached_property
    def version_progress(self) -> DataLoader[VersionKey, Progress | None]:
        return self._loader(self._version_progress, None)

    def _version_progress(self, session: Session, keys: Collection[VersionKey]) -> dict[VersionKey, Progress]:
        return bundle_versions.progress(session, self._context.transaction, keys)

    def file_dag_pages(self, first: int, after: str | None) -> DataLoader[FileKey, Page[Row]]:
        """The first DAGs of files behind a cursor, for one size of page."""
        if (first, after) not in self._dag_pages:
            self._dag_pages[first, after] = self._loader(
                lambda session, keys: batches.dag_pages(session, keys, first, after),
                Page(NO_ROWS, [], has_next_page=False, has_previous_page=after is not None),
            )
        return self._dag_pages[first, after]

    def _loader(
        self, load: Callable[[Session, Collection[KeyT]], Mapping[KeyT, ValueT]], missing: ValueT
    ) -> DataLoader[KeyT, ValueT]:
        async def load_all(keys: list[KeyT]) -> list[ValueT]:
            with self._context.reading() as session:
                found = load(session, keys)
            return [found.get(key, missing) for key in keys]

        return DataLoader(load_all, max_batch_size=MAX_BATCH)
