"""Parse results that say what an earlier one said, named by their fingerprints instead of sent again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from graphql import GraphQLError
from strawberry.scalars import JSON

from ..resolvers import unchanged_results
from ..resolvers.parse_result import UnchangedResult
from ..resolvers.principal import TokenKind
from .context import Info
from .outcomes import Outcome, OutcomeStatus, settled
from .parse_results import MAX_RESULTS
from .scalars import BigInt


@strawberry.input(description="One attempt to parse one file, which gave what an earlier one gave.")
class UnchangedResultInput:
    attempt_id: strawberry.ID = strawberry.field(
        description="Names this attempt (a UUID, at most 36 characters), also when it is sent in full later."
    )
    sequence: BigInt = strawberry.field(
        description="Grows with every attempt of the same processor at the same file, as in `ParseResultInput`."
    )
    relative_fileloc: str = strawberry.field(description="The file, relative to the bundle.")
    fingerprint: str = strawberry.field(description="The digest of this result, as in `ParseResultInput`.")
    parse_duration: float = strawberry.field(description="Seconds that parsing took, not negative.")
    lease_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list,
        description="Claimed parse requests that this attempt answers; done when the result is recorded.",
    )


@strawberry.input(description="Unchanged results of one bundle at one version.")
class UnchangedResultsInput:
    bundle_name: str = strawberry.field(description="The bundle that the files belong to.")
    bundle_path: str = strawberry.field(
        description="Absolute path of the bundle on the processor's host. Used in what listeners are told; never "
        "opened."
    )
    bundle_version: str | None = strawberry.field(
        default=None, description="The bundle's version that was parsed; null for a bundle without versions."
    )
    version_data: JSON | None = strawberry.field(
        default=None, description="Object that a versioned bundle keeps with its version; null when it keeps none."
    )
    results: list[UnchangedResultInput] = strawberry.field(description="One item per attempt, each file once.")


@strawberry.type(description="What became of results that were named by their fingerprints.")
class UnchangedResultsOutcome(Outcome):
    recorded_count: int = strawberry.field(default=0, description="Number of results that are recorded now.")
    recorded_at: datetime | None = strawberry.field(
        default=None, description="When they were recorded, on the gateway's clock; null when none was."
    )
    wanted: list[strawberry.ID] = strawberry.field(
        default_factory=list,
        description="The attempts whose results have to be sent in full with `recordParseResults`: those that differ "
        "from what is stored, those that can't be shown to be the same, and those that would be refused, which is "
        "then said. All others are recorded.",
    )


@strawberry.type
class UnchangedResultMutation:
    @strawberry.mutation(
        description="Record parse results that gave what is stored already, without sending it again. One "
        "transaction. A result is believed to be unchanged when its fingerprint is that of the file's last stored "
        "result and Airflow's rows are still those which that result left; what Airflow computes anew at each "
        "parse (parse times, next runs) is brought up to date. Needs a job token."
    )
    def record_unchanged_results(
        self,
        info: Info,
        batches: Annotated[
            list[UnchangedResultsInput],
            strawberry.argument(description=f"Results by bundle and version, at most {MAX_RESULTS} in all."),
        ],
    ) -> UnchangedResultsOutcome:
        principal = info.context.require(TokenKind.JOB)
        count = sum(len(batch.results) for batch in batches)
        if count > MAX_RESULTS:
            raise GraphQLError(
                f"{count} unchanged results in one operation; at most {MAX_RESULTS} are taken.",
                extensions={"code": "BAD_REQUEST"},
            )

        def resolve() -> UnchangedResultsOutcome:
            recorded = unchanged_results.record(
                info.context.transaction, principal, _claims(batches), request_id=info.context.request_id
            )
            return UnchangedResultsOutcome(
                status=OutcomeStatus.ACCEPTED,
                recorded_count=recorded.count,
                recorded_at=recorded.at,
                wanted=[strawberry.ID(attempt_id) for attempt_id in recorded.wanted],
            )

        return settled(UnchangedResultsOutcome, resolve)


def _claims(batches: list[UnchangedResultsInput]) -> list[UnchangedResult]:
    return [
        UnchangedResult(
            attempt_id=str(item.attempt_id),
            sequence=item.sequence,
            bundle_name=batch.bundle_name,
            bundle_path=batch.bundle_path,
            relative_fileloc=item.relative_fileloc,
            bundle_version=batch.bundle_version,
            version_data=batch.version_data,
            fingerprint=item.fingerprint,
            parse_duration=item.parse_duration,
            lease_ids=[str(lease_id) for lease_id in item.lease_ids],
        )
        for batch in batches
        for item in batch.results
    ]
