"""Bundles: making the processor's configuration known, and what is kept about each bundle between refreshes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry.scalars import JSON

from ..resolvers import bundles, reconciliation
from ..resolvers.principal import TokenKind
from .context import Info
from .outcomes import Outcome, OutcomeStatus, refused, settled


@strawberry.type(description="What Airflow keeps about a bundle between two refreshes.")
class BundleState:
    name: str = strawberry.field(description="The bundle's name.")
    last_refreshed: datetime | None = strawberry.field(
        description="When a processor last refreshed the bundle; null when none has yet."
    )
    version: str | None = strawberry.field(
        description="The version that the last refresh found, such as a Git commit; null for a bundle without versions."
    )


@strawberry.input(description="One bundle of the processor's configuration.")
class BundleInput:
    name: str = strawberry.field(description="The bundle's name, at most 250 characters; the token must grant it.")
    path: str = strawberry.field(
        description="Absolute path of the bundle on the processor's host. Used to find the bundle of DAGs that "
        "an upgrade from Airflow 2 left without one; never opened."
    )
    team_name: str | None = strawberry.field(
        default=None,
        description="Name of the team that owns the bundle; the team must exist and `[core] multi_team` be on. "
        "Null for none.",
    )
    view_url_template: str | None = strawberry.field(
        default=None,
        description="Template of the bundle's web address, with `{version}` and other placeholders, not "
        "signed: the gateway "
        "signs it. Null when the bundle has no web address; one that is not `http` or `https` is left out.",
    )
    template_params: JSON | None = strawberry.field(
        default=None,
        description="Object with the values of the placeholders of `viewUrlTemplate` other than `version`. "
        "Null for none.",
    )


@strawberry.input(description="The bundles that the processor is configured with.")
class SyncBundlesInput:
    bundles: list[BundleInput] = strawberry.field(description="Each bundle once.")
    deactivate_missing: bool = strawberry.field(
        default=False,
        description="Whether the list is the whole configuration, so that known bundles that are not on it are "
        "deactivated. "
        "Takes effect only with a token that grants all bundles (`*`); with another they stay as they are.",
    )


@strawberry.type(description="The answer to a synchronisation of bundles.")
class SyncBundlesPayload(Outcome):
    deactivated_bundle_names: list[str] | None = strawberry.field(
        default=None,
        description="Bundles that were deactivated because they are not listed, sorted; "
        "null unless `status` is `ACCEPTED`.",
    )
    reassigned_dag_count: int | None = strawberry.field(
        default=None,
        description="Number of DAGs, left without a bundle by an upgrade from Airflow 2, that were given one "
        "of these bundles; "
        "null unless `status` is `ACCEPTED`.",
    )


@strawberry.input(description="What a refresh of a bundle found.")
class BundleStateInput:
    name: str = strawberry.field(description="The bundle's name.")
    last_refreshed: datetime = strawberry.field(description="When the refresh ended.")
    version: str | None = strawberry.field(
        default=None,
        description="The version found, at most 200 characters; null leaves the stored version as it is.",
    )


@strawberry.type(description="What became of one bundle's state.")
class BundleStateOutcome(Outcome):
    name: str = strawberry.field(description="The bundle's name, as sent.")


@strawberry.input(description="All files of a bundle as a scan just found them.")
class ReconcileBundleInput:
    bundle_name: str = strawberry.field(description="The bundle's name.")
    files: list[str] = strawberry.field(
        description="Paths of the DAG files in the bundle, relative to it; a zip is one file."
    )
    observed_filelocs: list[str] = strawberry.field(
        description="Where DAGs may come from, relative to the bundle: the files themselves, but for a zip the "
        "DAG files in it "
        "(`archive.zip/dag.py`)."
    )
    bundle_version: str | None = strawberry.field(
        default=None,
        description="The version that the scan found the files in, such as a Git commit, at most 200 characters; null "
        "for a bundle without versions.",
    )


@strawberry.type(description="What the reconciliation of a bundle changed.")
class ReconcileBundlePayload(Outcome):
    deactivated_dag_ids: list[str] | None = strawberry.field(
        default=None,
        description="DAGs that became stale because their file is gone, sorted; null unless `status` is `ACCEPTED`.",
    )
    removed_import_error_count: int | None = strawberry.field(
        default=None,
        description="Number of import errors deleted because their file is gone; null unless `status` is `ACCEPTED`.",
    )
    forgotten_file_count: int | None = strawberry.field(
        default=None, description="Number of files that left the file ledger; null unless `status` is `ACCEPTED`."
    )


@strawberry.type
class BundleQuery:
    @strawberry.field(
        description="What is kept about these bundles. Names that are unknown, or that the token does not "
        "grant, are left out. "
        "Needs a job token."
    )
    def bundle_states(
        self,
        info: Info,
        names: Annotated[list[str], strawberry.argument(description="Names of bundles, at most 1,000.")],
    ) -> list[BundleState]:
        principal = info.context.require(TokenKind.JOB)
        with info.context.reading() as session:
            states = bundles.states(session, principal, names)
        return [
            BundleState(name=state.name, last_refreshed=state.last_refreshed, version=state.version) for state in states
        ]


@strawberry.type
class BundleMutation:
    @strawberry.mutation(
        description="Make the bundles of the processor's configuration known to Airflow: names, teams and web "
        "addresses. "
        "All or nothing. Refused with `BUNDLE_NOT_GRANTED`, `NOT_FOUND` (a team does not exist) or "
        "`NOT_PERMITTED`. Needs a job token."
    )
    def sync_bundles(
        self,
        info: Info,
        input: Annotated[SyncBundlesInput, strawberry.argument(description="The configured bundles.")],
    ) -> SyncBundlesPayload:
        principal = info.context.require(TokenKind.JOB)

        def sync() -> SyncBundlesPayload:
            declared = bundles.DeclaredBundles(
                [
                    bundles.DeclaredBundle(
                        name=bundle.name,
                        path=bundle.path,
                        team_name=bundle.team_name,
                        view_url_template=bundle.view_url_template,
                        template_params=bundle.template_params,
                    )
                    for bundle in input.bundles
                ]
            )
            with info.context.transaction() as session:
                deactivated = bundles.sync(session, principal, declared, deactivate_missing=input.deactivate_missing)
            return SyncBundlesPayload(
                status=OutcomeStatus.ACCEPTED,
                deactivated_bundle_names=deactivated,
                reassigned_dag_count=bundles.reassign_dags(principal, declared),
            )

        return settled(SyncBundlesPayload, sync)

    @strawberry.mutation(
        description="Record when bundles were refreshed and what version was found; one outcome per item, in "
        "order. Needs a job token."
    )
    def update_bundle_states(
        self,
        info: Info,
        states: Annotated[list[BundleStateInput], strawberry.argument(description="One item per refreshed bundle.")],
    ) -> list[BundleStateOutcome]:
        principal = info.context.require(TokenKind.JOB)
        with info.context.transaction() as session:
            refusals = bundles.update_states(
                session,
                principal,
                [
                    bundles.BundleState(name=state.name, last_refreshed=state.last_refreshed, version=state.version)
                    for state in states
                ],
            )
        return [
            refused(BundleStateOutcome, refusal, name=state.name)
            if refusal
            else BundleStateOutcome(status=OutcomeStatus.ACCEPTED, name=state.name)
            for state, refusal in zip(states, refusals, strict=True)
        ]

    @strawberry.mutation(
        description="Tell the gateway which files a bundle has now: DAGs of vanished files become stale, their "
        "import errors and "
        "their rows in the file ledger are deleted; and what the version is made of is kept, so that operators see how "
        "far it has come (`bundleVersion`). Needs a job token."
    )
    def reconcile_bundle(
        self,
        info: Info,
        input: Annotated[ReconcileBundleInput, strawberry.argument(description="The files that a scan found.")],
    ) -> ReconcileBundlePayload:
        principal = info.context.require(TokenKind.JOB)

        def reconcile() -> ReconcileBundlePayload:
            files, observed_filelocs = frozenset(input.files), frozenset(input.observed_filelocs)
            with info.context.reading() as session:
                gone = reconciliation.find_gone(
                    session,
                    principal,
                    input.bundle_name,
                    version=input.bundle_version,
                    files=files,
                    observed_filelocs=observed_filelocs,
                )
            if gone:
                with info.context.transaction() as session:
                    gone = reconciliation.reconcile(
                        session,
                        principal,
                        input.bundle_name,
                        version=input.bundle_version,
                        files=files,
                        observed_filelocs=observed_filelocs,
                    )
            return ReconcileBundlePayload(
                status=OutcomeStatus.ACCEPTED,
                deactivated_dag_ids=gone.dag_ids,
                removed_import_error_count=len(gone.import_errors),
                forgotten_file_count=len(gone.files),
            )

        return settled(ReconcileBundlePayload, reconcile)
