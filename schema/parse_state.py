"""The lists that operators read: bundles, files, DAGs, import errors, warnings, processors and pending callbacks.

All of them are pages of at most 500 items, cost the same number of queries whatever their size, and leave out what is
of a bundle that the token does not grant.
"""

from __future__ import annotations

from datetime import datetime
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
from .orders import DagOrder, FileOrder
from .pages import After, BundleFilter, Connection, First, PathFilter, comparable, read_page, utc
from .parse import FileStatus
from .parsed_file import ParsedFile
from .pending_callback import PendingCallback, PendingCallbackState
from .processor import Processor

_OrderOfFiles = Annotated[
    FileOrder, strawberry.argument(description="Which files come first; a cursor is of one order alone.")
]
_OrderOfDags = Annotated[
    DagOrder, strawberry.argument(description="Which DAGs come first; a cursor is of one order alone.")
]
_ParsedSince = Annotated[
    datetime | None,
    strawberry.argument(description="Only those that were last parsed at this moment or later; null for all."),
]
_SlowerThan = Annotated[
    float | None,
    strawberry.argument(description="Only those of which the last parse took more seconds than this; null for all."),
]


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

    @strawberry.field(description="Files of the file ledger. Needs an operator token.")
    def files(
        self,
        info: Info,
        first: First,
        after: After = None,
        order_by: _OrderOfFiles = FileOrder.PATH,
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
        failing: Annotated[
            bool | None,
            strawberry.argument(
                description="True for files whose last attempt was not stored or whose last stored result had import "
                "errors, false for the others; null for all."
            ),
        ] = None,
        parsed_since: _ParsedSince = None,
        slower_than: _SlowerThan = None,
        processor: Annotated[
            int | None,
            strawberry.argument(
                description="Only files whose last attempt was made by the processor with this `jobId`; null for all."
            ),
        ] = None,
        owner: Annotated[
            str | None,
            strawberry.argument(description="Only files with a DAG that has this owner, stale ones too; null for all."),
        ] = None,
        tag: Annotated[
            str | None,
            strawberry.argument(description="Only files with a DAG that has this tag, stale ones too; null for all."),
        ] = None,
        dag_id: Annotated[
            str | None,
            strawberry.argument(
                description="Only the file of the DAG with this id, an archive too when the DAG lies in it; null for "
                "all. With `owner` and `tag` one DAG has all of them."
            ),
        ] = None,
    ) -> Connection[ParsedFile]:
        principal = info.context.require(TokenKind.OPERATOR)
        comparable(bundle=bundle, pathPrefix=path_prefix, owner=owner, tag=tag, dagId=dag_id)
        listing = parse_state.files(
            principal,
            order=parse_state.FileOrder(order_by.value),
            bundle=bundle,
            path_prefix=path_prefix,
            status=None if status is None else ledger.FileStatus(status.value),
            has_import_errors=has_import_errors,
            failing=failing,
            parsed_since=utc("parsedSince", parsed_since),
            slower_than=slower_than,
            job_id=processor,
            owner=owner,
            tag=tag,
            dag_id=dag_id,
        )
        return read_page(info.context, lambda session: listing, ParsedFile.of, first=first, after=after)

    @strawberry.field(description="DAGs, stale ones too. Needs an operator token.")
    def dags(
        self,
        info: Info,
        first: First,
        after: After = None,
        order_by: _OrderOfDags = DagOrder.DAG_ID,
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
        parsed_since: _ParsedSince = None,
        slower_than: _SlowerThan = None,
        processor: Annotated[
            int | None,
            strawberry.argument(
                description="Only DAGs in files whose last attempt was made by the processor with this `jobId`; null "
                "for all."
            ),
        ] = None,
        owner: Annotated[
            str | None, strawberry.argument(description="Only DAGs with this owner; null for all.")
        ] = None,
        tag: Annotated[str | None, strawberry.argument(description="Only DAGs with this tag; null for all.")] = None,
    ) -> Connection[Dag]:
        principal = info.context.require(TokenKind.OPERATOR)
        comparable(bundle=bundle, pathPrefix=path_prefix, dagId=dag_id, owner=owner, tag=tag)
        listing = parse_state.dags(
            principal,
            order=parse_state.DagOrder(order_by.value),
            bundle=bundle,
            path_prefix=path_prefix,
            dag_id=dag_id,
            is_stale=is_stale,
            is_paused=is_paused,
            has_import_errors=has_import_errors,
            parsed_since=utc("parsedSince", parsed_since),
            slower_than=slower_than,
            job_id=processor,
            owner=owner,
            tag=tag,
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
