"""The processor's Job: registering with the gateway, saying that it lives, and ending."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry

from ..resolvers import activity as activities
from ..resolvers import jobs
from ..resolvers.activity import Activity
from ..resolvers.principal import TokenKind
from .context import Info
from .outcomes import Outcome, OutcomeStatus, settled


@strawberry.input(description="A DAG processor that starts, as it describes itself.")
class RegisterProcessorInput:
    registration_id: strawberry.ID = strawberry.field(
        description="Made by the processor, once per start (a UUID, at most 36 characters). "
        "Registering with the same id again gives the same Job and a fresh token."
    )
    hostname: str = strawberry.field(
        description="The processor's own host name, as `airflow jobs check --hostname` will look for it."
    )
    unixname: str = strawberry.field(description="The name of the user that the processor runs as.")
    pid: int = strawberry.field(description="Process id of the processor's manager on its host.")
    parsegate_version: str = strawberry.field(
        description="Version of parsegate that the processor runs, such as `0.1.0`."
    )
    airflow_version: str = strawberry.field(
        description="Version of Airflow that the processor runs. Its major and minor number must be the gateway's."
    )
    contract_version: str = strawberry.field(
        description="Version of this contract that the processor was built for, such as `1.0`. "
        "Its major number must be the gateway's."
    )
    bundle_names: list[str] | None = strawberry.field(
        default=None,
        description="Names of the bundles that the processor will parse; null for all that its token grants. "
        "The Job and its token are limited to them.",
    )


@strawberry.type(
    description="A running Job in Airflow's `job` table, of type `DagProcessorJob`, and the token that acts for it."
)
class RegisteredJob:
    job_id: int = strawberry.field(description="Id of the Job in Airflow's `job` table.")
    token: str = strawberry.field(
        description="The job token: send it as Bearer token with every other operation. Valid while the Job "
        "runs, until `expiresAt`."
    )
    expires_at: datetime = strawberry.field(
        description="When the job token expires; register again with the same `registrationId` before, to get "
        "a fresh one."
    )
    granted_bundles: list[str] = strawberry.field(
        description="Names of the bundles that the job token may read and write; `*` stands for all."
    )
    lease_duration: float = strawberry.field(
        description="Seconds that a claimed callback or parse request stays leased without being renewed."
    )
    gateway_version: str = strawberry.field(description="Version of parsegate that the gateway runs.")
    airflow_version: str = strawberry.field(description="Version of Airflow that the gateway runs.")


@strawberry.type(description="The answer to a registration.")
class RegisterProcessorPayload(Outcome):
    job: RegisteredJob | None = strawberry.field(
        default=None, description="The Job; null unless `status` is `ACCEPTED`."
    )


@strawberry.input(description="A file that the processor is parsing.")
class ParsingFileInput:
    bundle_name: str = strawberry.field(description="The file's bundle; the token must grant it.")
    relative_fileloc: str = strawberry.field(description="Path of the file in its bundle, at most 2,000 bytes.")


@strawberry.input(description="What the processor does now, for operators to see.")
class ProcessorActivityInput:
    parsing: list[ParsingFileInput] = strawberry.field(
        description="Files that are being parsed, by bundle and path; the first 32 of them."
    )
    queued_files: int = strawberry.field(description="Number of files that wait for their turn.")
    undelivered_results: int = strawberry.field(
        description="Number of parse results that the gateway has not taken yet."
    )


@strawberry.type(description="The answer to a heartbeat.")
class HeartbeatPayload(Outcome):
    recorded_at: datetime | None = strawberry.field(
        default=None, description="The heartbeat's time on the gateway's clock; null unless `status` is `ACCEPTED`."
    )


@strawberry.enum(description="How a processor ended.")
class JobCompletion(Enum):
    SUCCESS = strawberry.enum_value("SUCCESS", description="It ended by itself or was asked to stop.")
    FAILED = strawberry.enum_value("FAILED", description="It ended because of an error.")


@strawberry.input(description="The end of the processor's Job.")
class CompleteJobInput:
    state: JobCompletion = strawberry.field(description="How the processor ended.")


@strawberry.type(
    description="The answer to the completion of a Job; completing it again in the same state is accepted again."
)
class CompleteJobPayload(Outcome):
    pass


def _activity(input: ProcessorActivityInput | None) -> Activity | None:
    return input and Activity(
        parsing=[(file.bundle_name, file.relative_fileloc) for file in input.parsing],
        queued_files=input.queued_files,
        undelivered_results=input.undelivered_results,
    )


@strawberry.type
class JobMutation:
    @strawberry.mutation(
        description="Register a starting DAG processor and exchange its processor token for a job token. "
        "Refused with `VERSION_MISMATCH`, `BUNDLE_NOT_GRANTED`, `NOT_PERMITTED` (the registration id is "
        "another's) or "
        "`JOB_CLOSED` (the Job of this registration id has ended). Needs a processor token."
    )
    def register_processor(
        self,
        info: Info,
        input: Annotated[RegisterProcessorInput, strawberry.argument(description="Who starts, with its versions.")],
    ) -> RegisterProcessorPayload:
        principal = info.context.require(TokenKind.PROCESSOR)

        def register() -> RegisterProcessorPayload:
            with info.context.transaction() as session:
                registered = jobs.register(
                    session,
                    principal,
                    jobs.Registration(
                        registration_id=str(input.registration_id),
                        hostname=input.hostname,
                        unixname=input.unixname,
                        pid=input.pid,
                        parsegate_version=input.parsegate_version,
                        airflow_version=input.airflow_version,
                        contract_version=input.contract_version,
                        bundle_names=input.bundle_names,
                    ),
                )
            token, expires_at = info.context.mint_job_token(
                registered.job_id, principal.subject, frozenset(registered.granted_bundles)
            )
            return RegisterProcessorPayload(
                status=OutcomeStatus.ACCEPTED,
                job=RegisteredJob(
                    job_id=registered.job_id,
                    token=token,
                    expires_at=expires_at,
                    granted_bundles=registered.granted_bundles,
                    lease_duration=registered.lease_duration,
                    gateway_version=registered.gateway_version,
                    airflow_version=registered.airflow_version,
                ),
            )

        return settled(RegisterProcessorPayload, register)

    @strawberry.mutation(
        description="Say that the processor's loop still runs. Refused with `JOB_CLOSED` when its Job has "
        "ended, was deleted or was asked to end: the processor must stop then. Refused with `INVALID_ARGUMENT`, "
        "`BUNDLE_NOT_GRANTED` or `INVALID_PATH`, and not recorded, when `activity` makes no sense. Needs a job token."
    )
    def heartbeat(
        self,
        info: Info,
        activity: Annotated[
            ProcessorActivityInput | None,
            strawberry.argument(
                description="What the processor does now; null when that has not changed since its last heartbeat."
            ),
        ] = None,
    ) -> HeartbeatPayload:
        principal = info.context.require(TokenKind.JOB)

        def beat() -> HeartbeatPayload:
            told = _activity(activity)
            if told is not None:
                activities.check(principal, told)
            with info.context.transaction() as session:
                recorded_at = (
                    jobs.heartbeat(session, principal) if told is None else activities.tell(session, principal, told)
                )
            return HeartbeatPayload(status=OutcomeStatus.ACCEPTED, recorded_at=recorded_at)

        return settled(HeartbeatPayload, beat)

    @strawberry.mutation(
        description="End the processor's Job. What it has claimed goes back to be claimed by others. Needs a job token."
    )
    def complete_job(
        self,
        info: Info,
        input: Annotated[CompleteJobInput, strawberry.argument(description="How it ended.")],
    ) -> CompleteJobPayload:
        principal = info.context.require(TokenKind.JOB)

        def complete() -> CompleteJobPayload:
            with info.context.transaction() as session:
                jobs.complete(session, principal, succeeded=input.state is JobCompletion.SUCCESS)
            return CompleteJobPayload(status=OutcomeStatus.ACCEPTED)

        return settled(CompleteJobPayload, complete)
