"""Bundles: which are known, who may write them, and what Airflow keeps about them between refreshes."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.dag_processing.bundles.base import BaseDagBundle
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.bundles.manager import (
    _InternalBundleConfig as BundleConfig,  # pyright: ignore[reportPrivateUsage]  # what parse_config must fill
)
from airflow.exceptions import AirflowConfigException
from airflow.models.dagbundle import DagBundleModel
from sqlalchemy import inspect, select, update

from . import jobs
from .narrowed_reads import narrowed
from .refusals import Refusal, RefusalReason

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.orm import Session

    from .principal import Principal

log = logging.getLogger(__name__)

MAX_NAME = 250
MAX_VERSION = 200


@dataclass(frozen=True)
class DeclaredBundle:
    """One bundle of a processor's configuration; ``view_url_template`` is not signed yet."""

    name: str
    path: str
    team_name: str | None
    view_url_template: str | None
    template_params: Any


@dataclass(frozen=True)
class BundleState:
    """What Airflow keeps about a bundle between refreshes."""

    name: str
    last_refreshed: datetime | None
    version: str | None


class _RemoteBundle(BaseDagBundle):
    """A bundle whose files are on the processor's host: it has a path and a web address, and nothing to open."""

    def __init__(self, *, declared: DeclaredBundle, name: str, version: str | None) -> None:
        super().__init__(name=name, version=version, view_url_template=declared.view_url_template)
        self.declared = declared

    @property
    def path(self) -> Path:
        return Path(self.declared.path)

    def get_current_version(self) -> None:
        return None

    def refresh(self) -> None:
        raise NotImplementedError("The gateway has no files of bundles.")


_LEAVES_MISSING = "deactivate_missing" in signature(DagBundlesManager.sync_bundles_to_db).parameters


class DeclaredBundles(DagBundlesManager):
    """Airflow's bundle manager over the configuration that a processor declares, not over the gateway's own.

    Airflow 3.3.2 (``dag_processing/bundles/manager.py``): ``parse_config`` is where the configuration is read, and
    ``_extract_template_params`` would take the values of placeholders from attributes of the bundle object.
    """

    def __init__(self, declared: Sequence[DeclaredBundle]) -> None:
        self.declared = declared
        super().__init__()

    def write(self, session: Session, *, deactivate_missing: bool) -> None:
        """``sync_bundles_to_db``, also that of Airflow 3.3.0, which deactivates every other bundle that it finds."""
        if _LEAVES_MISSING:
            self.sync_bundles_to_db(deactivate_missing=deactivate_missing, session=session)
        elif deactivate_missing:
            self.sync_bundles_to_db(session=session)
        else:
            names = [bundle.name for bundle in self.declared]
            with narrowed(session, DagBundleModel, lambda: DagBundleModel.name.in_(names)):
                self.sync_bundles_to_db(session=session)

    def parse_config(self) -> None:
        for bundle in self.declared:
            self._bundle_config[bundle.name] = BundleConfig(
                bundle_class=_RemoteBundle, kwargs={"declared": bundle}, team_name=bundle.team_name
            )

    @staticmethod
    def _extract_template_params(bundle_instance: BaseDagBundle) -> dict[str, Any]:
        if not isinstance(bundle_instance, _RemoteBundle):
            raise TypeError(f"{bundle_instance!r} was not declared by a processor.")
        template = bundle_instance.view_url_template()
        placeholders = re.findall(r"\{([^}]+)\}", template) if template else []
        params: dict[str, Any] = bundle_instance.declared.template_params or {}
        return {name: params[name] for name in placeholders if params.get(name)}


def require_writable(session: Session, principal: Principal, bundle_name: str) -> None:
    """Refuse a bundle that the caller may not write or that nobody writes now.

    :raises Refusal: BUNDLE_NOT_GRANTED, UNKNOWN_BUNDLE, BUNDLE_INACTIVE
    """
    refusal = _refusals(session, principal, [bundle_name])[0]
    if refusal is not None:
        raise refusal


def states(session: Session, principal: Principal, names: Collection[str]) -> list[BundleState]:
    """State of those of ``names`` that are known and granted, by name."""
    granted = {name for name in names if principal.grants_bundle(name)}
    if not granted:
        return []
    rows = session.execute(
        select(DagBundleModel.name, DagBundleModel.last_refreshed, DagBundleModel.version)
        .where(DagBundleModel.name.in_(granted))
        .order_by(DagBundleModel.name)
    )
    return [BundleState(name=row.name, last_refreshed=row.last_refreshed, version=row.version) for row in rows]


def sync(session: Session, principal: Principal, declared: DeclaredBundles, *, deactivate_missing: bool) -> list[str]:
    """Write the declared bundles with Airflow's own code, which signs their URL templates with the Fernet key.

    :param deactivate_missing: whether ``declared`` is all that the caller knows of. It is all that there is only for a
        caller that is granted all bundles; another leaves the rest as it is.
    :returns: names of the bundles that were deactivated, sorted
    :raises Refusal: JOB_CLOSED, BUNDLE_NOT_GRANTED, NOT_PERMITTED, NOT_FOUND, INVALID_ARGUMENT
    """
    jobs.require_running(session, principal)
    _require_declarable(principal, declared.declared)
    try:
        declared.write(session, deactivate_missing=deactivate_missing and principal.grants_all_bundles)
    except AirflowConfigException as error:
        raise Refusal(RefusalReason.NOT_FOUND, str(error)) from error
    deactivated = sorted(
        bundle.name
        for bundle in session.dirty
        if isinstance(bundle, DagBundleModel) and not bundle.active and inspect(bundle).attrs.active.history.deleted
    )
    session.flush()
    names = {bundle.name for bundle in declared.declared}
    stored = set(session.scalars(select(DagBundleModel.name).where(DagBundleModel.name.in_(names))))
    if missing := names - stored:
        # Airflow logs and skips a bundle that it can't sign; the processor would be refused UNKNOWN_BUNDLE for ever.
        raise RuntimeError(
            f"Airflow did not store {', '.join(sorted(missing))}: its log says why. Is the Fernet key set?"
        )
    return deactivated


def reassign_dags(principal: Principal, declared: DeclaredBundles) -> int:
    """Give DAGs that an upgrade from Airflow 2 left without a bundle one of the declared; how many were given one.

    Airflow's own code, which opens and commits sessions of its own: call it outside any transaction. Best effort, as in
    ``DagFileProcessorManager.sync_bundles``: such DAGs heal when they are parsed next. Only a processor of all bundles
    may: those DAGs are not any bundle's yet.
    """
    if not principal.grants_all_bundles or not hasattr(declared, "reassign_dags_with_unconfigured_bundles"):
        # Airflow 3.3.0 does not reassign any.
        return 0
    try:
        return declared.reassign_dags_with_unconfigured_bundles()
    except Exception:  # as stock: whatever fails here must not keep a processor from starting
        log.exception("DAGs without a configured bundle could not be reassigned")
        return 0


def update_states(session: Session, principal: Principal, reported: Sequence[BundleState]) -> list[Refusal | None]:
    """Record refreshes as ``DagFileProcessorManager.update_bundle_state`` does; a Refusal or None for each."""
    try:
        jobs.require_running(session, principal)
    except Refusal as refusal:
        return [refusal] * len(reported)
    refusals = _refusals(session, principal, [state.name for state in reported])
    for position, state in enumerate(reported):
        if state.version is not None and (len(state.version) > MAX_VERSION or "\0" in state.version):
            refusals[position] = Refusal(
                RefusalReason.INVALID_ARGUMENT,
                f"A bundle's version has at most {MAX_VERSION} characters, none of them NUL.",
            )
    refreshed = [
        {"name": state.name, "last_refreshed": _aware(state.last_refreshed), "version": state.version}
        for state, refusal in zip(reported, refusals, strict=True)
        if refusal is None
    ]
    versioned = [row for row in refreshed if row["version"] is not None]
    unversioned = [
        {"name": row["name"], "last_refreshed": row["last_refreshed"]} for row in refreshed if row["version"] is None
    ]
    for rows in (versioned, unversioned):  # two statements, as they set different columns
        if rows:
            session.execute(update(DagBundleModel), rows)
    return refusals


def _refusals(session: Session, principal: Principal, names: Sequence[str]) -> list[Refusal | None]:
    granted = {name for name in names if principal.grants_bundle(name)}
    active: dict[str, bool | None] = {}
    if granted:
        active = {
            row.name: row.active
            for row in session.execute(
                select(DagBundleModel.name, DagBundleModel.active).where(DagBundleModel.name.in_(granted))
            )
        }

    def refusal(name: str) -> Refusal | None:
        if name not in granted:
            return Refusal(RefusalReason.BUNDLE_NOT_GRANTED, f"The token does not grant bundle {name}.")
        if name not in active:
            return Refusal(RefusalReason.UNKNOWN_BUNDLE, f"Bundle {name} is not known; synchronise the bundles first.")
        if not active[name]:
            return Refusal(RefusalReason.BUNDLE_INACTIVE, f"Bundle {name} was deactivated: it left the configuration.")
        return None

    return [refusal(name) for name in names]


def _require_declarable(principal: Principal, declared: Sequence[DeclaredBundle]) -> None:
    seen: set[str] = set()
    for bundle in declared:
        if not principal.grants_bundle(bundle.name):
            raise Refusal(
                RefusalReason.BUNDLE_NOT_GRANTED,
                f"The token does not grant bundle {bundle.name}. Mint one that does, or leave the bundle out.",
            )
        if bundle.name in seen:
            raise Refusal(RefusalReason.INVALID_ARGUMENT, f"Bundle {bundle.name} is listed twice.")
        seen.add(bundle.name)
        if not bundle.name or len(bundle.name) > MAX_NAME or any("\0" in text for text in (bundle.name, bundle.path)):
            raise Refusal(
                RefusalReason.INVALID_ARGUMENT,
                f"A bundle's name has 1 to {MAX_NAME} characters; no name or path holds NUL.",
            )
        if bundle.template_params is not None and not isinstance(bundle.template_params, dict):
            raise Refusal(RefusalReason.INVALID_ARGUMENT, f"templateParams of bundle {bundle.name} is not an object.")
        if bundle.team_name is not None and not conf.getboolean("core", "multi_team"):
            raise Refusal(
                RefusalReason.NOT_PERMITTED,
                f"Bundle {bundle.name} names a team, but [core] multi_team is off on the gateway.",
            )


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
