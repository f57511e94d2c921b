"""Airflow's own login as an operator's, where the gateway is mounted in Airflow's API server.

Who may read in Airflow's own UI all that the gateway shows may read it here: import errors and jobs, and of a bundle
the code of all its DAGs. Airflow's auth manager decides; nobody may change anything. Tokens of parsegate are accepted
beside it, from the ``Authorization`` header alone.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import jwt
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, TeamDetails
from airflow.api_fastapi.core_api.security import get_user, resolve_user_from_token
from airflow.configuration import conf
from airflow.models.dag import DagModel
from airflow.models.team import dag_bundle_team_association_table as bundle_team
from anyio import to_thread
from cachetools import TTLCache
from fastapi import HTTPException
from sqlalchemy import select
from starlette.authentication import AuthCredentials, AuthenticationError
from starlette.requests import HTTPConnection, Request

from ..resolvers.database import reading
from ..resolvers.principal import ALL_BUNDLES, Principal, TokenKind
from .authentication import Caller, ForeignRequest, NotAllowed, TokenAuthentication
from .session_cookie import CSRF_HEADER, shows_own_page
from .tokens import TYPES

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.base_auth_manager import BaseAuthManager
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from starlette.authentication import BaseUser as User

    from .tokens import TokenVerifier

GRANTS_KEPT = 30.0
"""Seconds for which a login keeps what Airflow allowed it."""

LONGEST_CONNECTION = timedelta(minutes=10)
"""After which a connection for live events ends, so that Airflow is asked again what it allows."""

_OWN_TYPES = frozenset(TYPES.values())


class AirflowAuthentication(TokenAuthentication):
    """Starlette's authentication backend over Airflow's login and the gateway's tokens."""

    def __init__(self, verifier: TokenVerifier) -> None:
        super().__init__(verifier)
        self._granted: TTLCache[str, frozenset[str]] = TTLCache(maxsize=1000, ttl=GRANTS_KEPT)

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, User] | None:
        scheme, _, token = conn.headers.get("authorization", "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        if "authorization" in conn.headers and (not bearer or _is_own(bearer)):
            return await super().authenticate(conn)
        try:
            # Not `get_user` for both: in Airflow 3.3.0 it lets the cookie count more than the token.
            user = await (resolve_user_from_token(bearer) if bearer else get_user(cast("Request", conn), None, None))
        except HTTPException as error:
            if bearer:
                raise AuthenticationError(f"Airflow refuses the token: {error.detail}.") from error
            return None
        if not bearer and not shows_own_page(conn):
            if conn.scope["type"] == "websocket":
                return None
            raise ForeignRequest(f"A request that is authenticated by a cookie needs the header `{CSRF_HEADER}: 1`.")
        bundles = await self._bundles(user, bearer or conn.cookies.get(COOKIE_NAME_JWT_TOKEN, ""))
        principal = Principal(
            kind=TokenKind.OPERATOR,
            subject=f"airflow:{user.get_name()}",
            bundles=bundles,
            expires_at=datetime.now(UTC) + LONGEST_CONNECTION,
        )
        return AuthCredentials([principal.kind.value]), Caller(principal)

    async def _bundles(self, user: BaseUser, token: str) -> frozenset[str]:
        # By the login and not by the user: what a token grants may be written in it. Without one, nothing is kept.
        key = hashlib.sha256(token.encode()).hexdigest()
        bundles = self._granted.get(key) if token else None
        if bundles is None:
            bundles = await to_thread.run_sync(granted_bundles, get_auth_manager(), user)
        if token:
            self._granted.setdefault(key, bundles)
        if not bundles:
            raise NotAllowed(
                "Airflow does not let you see this: it takes the right to read import errors, jobs, and the code of "
                "all DAGs of a bundle."
            )
        return bundles


def granted_bundles(manager: BaseAuthManager[BaseUser], user: BaseUser) -> frozenset[str]:
    """The bundles that ``user`` may read as an operator: ``{"*"}`` for all there are or will be, or none."""
    views = (AccessView.IMPORT_ERRORS, AccessView.JOBS)
    if not all(manager.is_authorized_view(access_view=view, user=user) for view in views):
        return frozenset()
    if not manager.is_authorized_dag(method="GET", access_entity=DagAccessEntity.CODE, user=user):
        return frozenset()
    readable = manager.get_authorized_dag_ids(user=user, method="GET")
    with reading() as session:
        teams = session.execute(select(bundle_team.c.dag_bundle_name, bundle_team.c.team_name)).all()
        dags = session.execute(select(DagModel.dag_id, DagModel.bundle_name)).all()
    hidden = {bundle for dag_id, bundle in dags if dag_id not in readable}
    if conf.getboolean("core", "multi_team", fallback=False):
        hidden |= {
            bundle
            for bundle, team in teams
            if not manager.is_authorized_team(method="GET", user=user, details=TeamDetails(name=team))
        }
    if not hidden:
        return frozenset({ALL_BUNDLES})
    # A bundle none of whose files has a DAG yet says nothing about whom it is for.
    return frozenset({bundle for _, bundle in dags} - hidden)


def _is_own(token: str) -> bool:
    """Whether ``token`` says that it is one of parsegate's; it is verified elsewhere."""
    try:
        return jwt.get_unverified_header(token).get("typ") in _OWN_TYPES
    except jwt.PyJWTError:
        return False
