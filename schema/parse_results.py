"""Parse results: what parsing one file gave, stored as Airflow's own processor would store it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from graphql import GraphQLError
from strawberry.scalars import JSON

from ..resolvers import parse_results
from ..resolvers.parse_result import DagDocument, ParseResult, ReportedWarning
from ..resolvers.principal import TokenKind
from ..resolvers.receipts import ReceiptStatus
from .context import Info
from .outcomes import Outcome, OutcomeStatus
from .scalars import BigInt, SerializedDag

MAX_RESULTS = 500


@strawberry.input(description="One DAG that the file yielded.")
class SerializedDagInput:
    document: SerializedDag = strawberry.field(
        description="The DAG as Airflow serialized it. It must name its `dag_id`, `fileloc` and "
        "`relative_fileloc`; "
        "numbers must be finite, whole ones fit 64 bits."
    )
    last_loaded: datetime | None = strawberry.field(
        default=None, description="When the processor loaded the DAG from its file; null when unknown."
    )


@strawberry.input(description="An error met while importing a file.")
class ImportErrorInput:
    relative_fileloc: str = strawberry.field(
        description="The file in which the error was met, relative to the bundle, at most 1,024 characters. "
        "For a file in a zip also its absolute "
        "path on the processor's host, as Airflow reports it."
    )
    stacktrace: str = strawberry.field(description="The Python traceback, as operators will read it.")


@strawberry.input(description="A warning about a DAG that was parsed all the same.")
class DagWarningInput:
    dag_id: str = strawberry.field(description="The DAG that is warned about; it belongs to the same file.")
    warning_type: str = strawberry.field(
        description="Airflow's `DagWarningType`: `asset conflict`, `non-existent pool` or `runtime varying value`."
    )
    message: str = strawberry.field(description="The warning, for a person.")


@strawberry.input(description="The source code of one file.")
class SourceInput:
    fileloc: str = strawberry.field(
        description="The `fileloc` of the DAGs that it defines, exactly as their documents have it."
    )
    text: str = strawberry.field(description="The whole file as text; not empty.")


@strawberry.input(description="What one attempt to parse one file gave.")
class ParseResultInput:
    attempt_id: strawberry.ID = strawberry.field(
        description="Names this attempt (a UUID, at most 36 characters). Sending it again gives the first answer again."
    )
    sequence: BigInt = strawberry.field(
        description="Grows with every attempt of the same processor at the same file; a lower one than the "
        "last recorded is refused with `SUPERSEDED`."
    )
    bundle_name: str = strawberry.field(
        description="The bundle that the file belongs to; it must be known, active and granted."
    )
    bundle_path: str = strawberry.field(
        description="Absolute path of the bundle on the processor's host. Used in what listeners are told; "
        "never opened."
    )
    relative_fileloc: str = strawberry.field(
        description="The file, relative to the bundle: normalised, without `..`, at most 2,000 bytes. A "
        "zip is one file."
    )
    bundle_version: str | None = strawberry.field(
        default=None,
        description="The bundle's version that was parsed, at most 200 characters; null for a bundle without versions.",
    )
    version_data: JSON | None = strawberry.field(
        default=None, description="Object that a versioned bundle keeps with its version; null when it keeps none."
    )
    parse_duration: float = strawberry.field(description="Seconds that parsing took, not negative.")
    timed_out: bool = strawberry.field(
        default=False,
        description="Whether parsing was ended for taking too long. Nothing but the file ledger changes then.",
    )
    dags: list[SerializedDagInput] = strawberry.field(
        description="The DAGs that the file yielded, each `dag_id` once; may be empty."
    )
    import_errors: list[ImportErrorInput] = strawberry.field(description="The import errors met; may be empty.")
    warnings: list[DagWarningInput] = strawberry.field(description="The warnings given; may be empty.")
    sources: list[SourceInput] = strawberry.field(
        description="Source code: one for every `fileloc` that the DAGs name."
    )
    lease_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list,
        description="Claimed parse requests that this attempt answers. They are done when the result is "
        "recorded, also when it is refused.",
    )
    fingerprint: str | None = strawberry.field(
        default=None,
        description="The processor's digest of all that this result holds beyond `attemptId`, `sequence`, version and "
        "duration: "
        "equal only if the documents (without `lastLoaded`), import errors, warnings, source code and `bundlePath` "
        "are. At most 64 characters. With it the same result can be recorded by `recordUnchangedResults` later; null: "
        "it can't.",
    )


@strawberry.type(description="What became of one parse result.")
class ParseResultOutcome(Outcome):
    attempt_id: strawberry.ID = strawberry.field(description="The attempt, as sent.")
    bundle_name: str = strawberry.field(description="The bundle, as sent.")
    relative_fileloc: str = strawberry.field(description="The file, as sent.")
    dag_count: int | None = strawberry.field(
        default=None, description="Number of DAGs stored from this attempt; null unless `status` is `ACCEPTED`."
    )
    import_error_count: int | None = strawberry.field(
        default=None,
        description="Number of import errors stored from this attempt, those that Airflow met while storing "
        "included; "
        "null unless `status` is `ACCEPTED`.",
    )
    recorded_at: datetime | None = strawberry.field(
        default=None,
        description="When the attempt was recorded, on the gateway's clock; null when it left nothing in the "
        "file ledger.",
    )
    recognizable: bool = strawberry.field(
        default=False,
        description="Whether the same result, when it comes again, can be recorded by its fingerprint with "
        "`recordUnchangedResults`. Not for DAGs with deadlines, for instance, which Airflow compares one by one.",
    )


_STATUS = {
    ReceiptStatus.ACCEPTED: OutcomeStatus.ACCEPTED,
    ReceiptStatus.REFUSED: OutcomeStatus.REFUSED,
    ReceiptStatus.FAILED: OutcomeStatus.FAILED,
}


def _result(item: ParseResultInput) -> ParseResult:
    return ParseResult(
        attempt_id=str(item.attempt_id),
        sequence=item.sequence,
        bundle_name=item.bundle_name,
        bundle_path=item.bundle_path,
        relative_fileloc=item.relative_fileloc,
        bundle_version=item.bundle_version,
        version_data=item.version_data,
        parse_duration=item.parse_duration,
        timed_out=item.timed_out,
        documents=[DagDocument(document=dag.document, last_loaded=dag.last_loaded) for dag in item.dags],
        import_errors=[(error.relative_fileloc, error.stacktrace) for error in item.import_errors],
        warnings=[
            ReportedWarning(dag_id=warning.dag_id, warning_type=warning.warning_type, message=warning.message)
            for warning in item.warnings
        ],
        sources={source.fileloc: source.text for source in item.sources},
        lease_ids=[str(lease_id) for lease_id in item.lease_ids],
        fingerprint=item.fingerprint,
    )


@strawberry.type
class ParseResultMutation:
    @strawberry.mutation(
        description="Store what parsing gave: DAGs, import errors, warnings and source code of each file. One "
        "outcome per item, in order. Items may share a transaction; when it fails, each is stored by itself, so that "
        "none harms another, and none is `ACCEPTED` unless it is committed. Needs a job token."
    )
    def record_parse_results(
        self,
        info: Info,
        results: Annotated[
            list[ParseResultInput],
            strawberry.argument(description=f"One item per attempt, at most {MAX_RESULTS}; recorded in this order."),
        ],
    ) -> list[ParseResultOutcome]:
        principal = info.context.require(TokenKind.JOB)
        if len(results) > MAX_RESULTS:
            raise GraphQLError(
                f"{len(results)} parse results in one operation; at most {MAX_RESULTS} are taken.",
                extensions={"code": "BAD_REQUEST"},
            )
        receipts = parse_results.record_all(
            info.context.transaction, principal, map(_result, results), request_id=info.context.request_id
        )
        return [
            ParseResultOutcome(
                status=_STATUS[receipt.status],
                reason=receipt.reason,
                message=receipt.message,
                attempt_id=item.attempt_id,
                bundle_name=item.bundle_name,
                relative_fileloc=item.relative_fileloc,
                dag_count=receipt.dag_count,
                import_error_count=receipt.import_error_count,
                recorded_at=receipt.recorded_at,
                recognizable=receipt.recognizable,
            )
            for item, receipt in zip(results, receipts, strict=True)
        ]
