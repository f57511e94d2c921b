"""Callbacks that the scheduler left for a DAG processor to run, claimed as leases."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry

from ..resolvers import callbacks
from ..resolvers.principal import TokenKind
from .claims import ClaimInput, LeaseOutcome, at_most, lease_outcome
from .context import Info
from .outcomes import Outcome, OutcomeStatus, settled
from .scalars import CallbackRequestDocument


@strawberry.type(description="A callback that this processor has until its lease expires.")
class CallbackLease:
    lease_id: strawberry.ID = strawberry.field(description="Names the lease when it is renewed or settled.")
    attempt: int = strawberry.field(description="How often it has been handed out, this time included; from 1.")
    expires_at: datetime = strawberry.field(description="When the lease expires unless it is renewed (UTC).")
    bundle_name: str = strawberry.field(description="Bundle of the file that defines the callback.")
    callback: CallbackRequestDocument = strawberry.field(description="The callback as the scheduler wrote it.")


@strawberry.type(description="Callbacks handed out by one claim, most urgent first: by priority weight, then by age.")
class ClaimCallbacksPayload(Outcome):
    leases: list[CallbackLease] = strawberry.field(
        default_factory=list, description="The leases taken; empty when nothing waits or the claim was refused."
    )


@strawberry.enum(description="What a child process reports of a callback that ran.")
class AcknowledgedCallback(Enum):
    RAN = strawberry.enum_value("RAN", description="The callback ran to its end.")
    RAISED = strawberry.enum_value("RAISED", description="The callback ran and raised; it isn't run again.")


@strawberry.enum(description="Why a callback did not run.")
class ReleasedCallback(Enum):
    NOT_FOUND = strawberry.enum_value("NOT_FOUND", description="Its DAG, its task or its file is gone.")
    NOT_STARTED = strawberry.enum_value(
        "NOT_STARTED", description="Not reached: its process was killed, its bundle failed, or the processor stops."
    )


@strawberry.input(description="A callback that ran.")
class CallbackAcknowledgementInput:
    lease_id: strawberry.ID = strawberry.field(description="The callback's lease.")
    outcome: AcknowledgedCallback = strawberry.field(description="How it ended.")


@strawberry.input(description="A callback that did not run.")
class CallbackReleaseInput:
    lease_id: strawberry.ID = strawberry.field(description="The callback's lease.")
    outcome: ReleasedCallback = strawberry.field(description="Why it did not run.")


@strawberry.type
class CallbackMutation:
    @strawberry.mutation(
        description=(
            "Take callbacks of the bundles that this processor registered for and its token grants, also those that "
            "others released or whose owner is gone. They leave Airflow's `callback` table in the same transaction. "
            "Needs a job token."
        )
    )
    def claim_callbacks(
        self,
        info: Info,
        input: Annotated[
            ClaimInput, strawberry.argument(description="Which claim this is, and how many callbacks it may get.")
        ],
    ) -> ClaimCallbacksPayload:
        principal = info.context.require(TokenKind.JOB)

        def resolve() -> ClaimCallbacksPayload:
            # Most claims find nothing; those write nothing, and on SQLite keep nobody waiting.
            with info.context.reading() as session:
                if not callbacks.any_waiting(session, principal, claim_id=input.claim_id, limit=input.limit):
                    return ClaimCallbacksPayload(status=OutcomeStatus.ACCEPTED)
            with info.context.transaction() as session:
                leases = callbacks.claim(session, principal, claim_id=input.claim_id, limit=input.limit)
            return ClaimCallbacksPayload(
                status=OutcomeStatus.ACCEPTED,
                leases=[
                    CallbackLease(
                        lease_id=strawberry.ID(lease.lease_id),
                        attempt=lease.attempt,
                        expires_at=lease.expires_at,
                        bundle_name=lease.bundle_name,
                        callback=CallbackRequestDocument(lease.payload),
                    )
                    for lease in leases
                ],
            )

        return settled(ClaimCallbacksPayload, resolve)

    @strawberry.mutation(
        description=(
            "Callbacks that ran: their claims end. One outcome per item, in order. A claim that is gone was "
            "acknowledged before and is accepted; one that another processor has, or that went back to the queue, is "
            "`LEASE_LOST`. Needs a job token."
        )
    )
    def acknowledge_callbacks(
        self,
        info: Info,
        items: Annotated[
            list[CallbackAcknowledgementInput], strawberry.argument(description="The callbacks, at most 1000.")
        ],
    ) -> list[LeaseOutcome]:
        principal = info.context.require(TokenKind.JOB)
        at_most(items)
        with info.context.transaction() as session:
            outcomes = callbacks.acknowledge(session, principal, [(item.lease_id, item.outcome.name) for item in items])
        return [lease_outcome(outcome) for outcome in outcomes]

    @strawberry.mutation(
        description=(
            "Callbacks that did not run: they wait for any processor again, or are parked after `[parsegate] "
            "max_attempts` attempts. One outcome per item, in order; `LEASE_LOST` when the lease is no longer this "
            "processor's. Needs a job token."
        )
    )
    def release_callbacks(
        self,
        info: Info,
        items: Annotated[list[CallbackReleaseInput], strawberry.argument(description="The callbacks, at most 1000.")],
    ) -> list[LeaseOutcome]:
        principal = info.context.require(TokenKind.JOB)
        at_most(items)
        with info.context.transaction() as session:
            outcomes = callbacks.release(session, principal, [(item.lease_id, item.outcome.name) for item in items])
        return [lease_outcome(outcome) for outcome in outcomes]
