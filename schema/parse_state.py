"""The lists that operators read: bundles, files, DAGs, import errors, warnings, processors and pending callbacks.

All of them are pages of at most 500 items, cost the same number of queries whatever their size, and leave out what is
of a bundle that the token does not grant.
"""

from __future__ import annotations

from typing import Annotated

import strawberry

from ..resolvers import ledger, parse_state
from ..resolvers.pending_callbacks import PendingState, pending_callbacks
from ..resolvers.principal import TokenKind
from ..resolvers.processors import processors
from .bundle import Bundle
from .context import Info
from .dag import Dag
from .dag_warning import DagWarning
from .import_error import FileImportError
from .pages import After, BundleFilter, Connection, First, PathFilter, comparable, read_page
from .parsed_file import FileStatus, ParsedFile
from .pending_callback import PendingCallback, PendingCallbackState
from .processor import Processor


@strawberry.type
class ParseStateQuery:
    @strawberry.field(description="Bundles by name. Needs an operator token.")
    def bundles(
        self,
        info: Info,
        first: First,
        after: After = None,
        active: Annotated[
            bool | None,
            strawberry.argument(
                description="True for those in the configuration now, false for the others; null for all."
            ),
        ] = None,
    ) -> Connection[Bundle]:
        principal = info.context.require(TokenKind.OPERATOR)
        listing = parse_state.bundles(principal, active=active)
        return read_page(info.context, lambda session: listing, Bundle.of, first=first, after=after)

    @strawberry.field(description="Files of the file ledger by bundle and path. Needs an operator token.")
    def files(
        self,
        info: Info,
        first: First,
        after: After = None,
        bundle: BundleFilter = None,
        path_prefix: PathFilter = None,
        status: Annotated[
            FileStatus | None,
            strawberry.argument(description="Only files whose last attempt ended like this; null for all."),
        ] = None,
        has_import_errors: Annotated[
            bool | None,
            strawberry.argument(
                description="True for files whose last stored result had import errors, false for the others; null "
                "for all."
            ),
        ] = None,
    ) -> Connection[ParsedFile]:
        principal = info.context.require(TokenKind.OPERATOR)
        comparable(bundle=bundle, pathPrefix=path_prefix)
        listing = parse_state.files(
            principal,
            bundle=bundle,
            path_prefix=path_prefix,
            status=None if status is None else ledger.FileStatus(status.value),
            has_import_errors=has_import_errors,
        )
        return read_page(info.context, lambda session: listing, ParsedFile.of, first=first, after=after)

    @strawberry.field(description="DAGs by id, stale ones too. Needs an operator token.")
    def dags(
        self,
        info: Info,
        first: First,
        after: After = None,
        bundle: BundleFilter = None,
        path_prefix: PathFilter = None,
        dag_id: Annotated[
            str | None, strawberry.argument(description="Only the DAG with this id; null for all.")
        ] = None,
        is_stale: Annotated[
            bool | None, strawberry.argument(description="True for stale DAGs, false for the others; null for all.")
        ] = None,
        is_paused: Annotated[
            bool | None, strawberry.argument(description="True for paused DAGs, false for the others; null for all.")
        ] = None,
        has_import_errors: Annotated[
            bool | None,
            strawberry.argument(
                description="True for DAGs whose file fails to import now, false for the others; null for all."
            ),
        ] = None,
    ) -> Connection[Dag]:
        principal = info.context.require(TokenKind.OPERATOR)
        comparable(bundle=bundle, pathPrefix=path_prefix, dagId=dag_id)
        listing = parse_state.dags(
            principal,
            bundle=bundle,
            path_prefix=path_prefix,
            dag_id=dag_id,
            is_stale=is_stale,
            is_paused=is_paused,
            has_import_errors=has_import_errors,
        )
        return read_page(info.context, lambda session: listing, Dag.of, first=first, after=after)

    @strawberry.field(description="Import errors, the one that was first seen last in front. Needs an operator token.")
    def import_errors(
        self,
        info: Info,
        first: First,
        after: After = None,
        bundle: BundleFilter = None,
        path_prefix: PathFilter = None,
    ) -> Connection[FileImportError]:
        principal = info.context.require(TokenKind.OPERATOR)
        comparable(bundle=bundle, pathPrefix=path_prefix)
        listing = parse_state.import_errors(principal, bundle=bundle, path_prefix=path_prefix)
        return read_page(info.context, lambda session: listing, FileImportError.of, first=first, after=after)

    @strawberry.field(description="DAG warnings by DAG id and type. Needs an operator token.")
    def dag_warnings(
        self,
        info: Info,
        first: First,
        after: After = None,
        bundle: BundleFilter = None,
        path_prefix: PathFilter = None,
        dag_id: Annotated[
            str | None, strawberry.argument(description="Only of the DAG with this id; null for all.")
        ] = None,
        warning_type: Annotated[
            str | None, strawberry.argument(description="Only of this type, such as `non-existent pool`; null for all.")
        ] = None,
    ) -> Connection[DagWarning]:
        principal = info.context.require(TokenKind.OPERATOR)
        comparable(bundle=bundle, pathPrefix=path_prefix, dagId=dag_id, warningType=warning_type)
        listing = parse_state.dag_warnings(
            principal, bundle=bundle, path_prefix=path_prefix, dag_id=dag_id, warning_type=warning_type
        )
        return read_page(info.context, lambda session: listing, DagWarning.of, first=first, after=after)

    @strawberry.field(
        description="DAG processors that registered with the gateway, the newest first. A token that does not grant "
        "all bundles sees "
        "those that parse one of its bundles. Needs an operator token."
    )
    def processors(
        self,
        info: Info,
        first: First,
        after: After = None,
        bundle: Annotated[
            str | None,
            strawberry.argument(description="Only processors that parse the bundle with this name; null for all."),
        ] = None,
        alive: Annotated[
            bool | None,
            strawberry.argument(description="True for processors that are alive, false for the others; null for all."),
        ] = None,
    ) -> Connection[Processor]:
        principal = info.context.require(TokenKind.OPERATOR)
        comparable(bundle=bundle)
        return read_page(
            info.context,
            lambda session: processors(session, principal, bundle=bundle, alive=alive),
            Processor.of,
            first=first,
            after=after,
        )

    @strawberry.field(
        description="Callbacks for DAG processors that have not been acknowledged, the oldest first: those that the "
        "scheduler left, and "
        "those that processors have claimed. One that is claimed while you page may come twice. Needs an operator "
        "token."
    )
    def pending_callbacks(
        self,
        info: Info,
        first: First,
        after: After = None,
        bundle: BundleFilter = None,
        state: Annotated[
            PendingCallbackState | None, strawberry.argument(description="Only those in this state; null for all.")
        ] = None,
    ) -> Connection[PendingCallback]:
        principal = info.context.require(TokenKind.OPERATOR)
        comparable(bundle=bundle)
        listing = pending_callbacks(
            principal, bundle=bundle, state=None if state is None else PendingState(state.value)
        )
        return read_page(info.context, lambda session: listing, PendingCallback.of, first=first, after=after)
