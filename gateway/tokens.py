"""Minting and verifying the gateway's tokens with Airflow's own keys.

Keys, algorithm, issuer and leeway are Airflow's: ``[api_auth] jwt_secret``, ``jwt_private_key_path``,
``trusted_jwks_url`` and so on, used through ``airflow/api_fastapi/auth/tokens.py``. What is ours is that each kind of
token has its own ``aud`` and its own ``typ`` header, so that none passes for another, nor for one of Airflow's.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import jwt
from airflow.api_fastapi.auth.tokens import (
    JWKS,
    JWTGenerator,
    JWTValidator,
    get_sig_validation_args,
    get_signing_args,
)
from airflow.configuration import conf

from ..resolvers.principal import ALL_BUNDLES, Permission, Principal, TokenKind

logger = logging.getLogger(__name__)

AUDIENCES = {kind: f"parsegate:{kind.value}" for kind in TokenKind}
TYPES = {kind: f"parsegate-{kind.value}+jwt" for kind in TokenKind}
_KINDS_BY_TYPE = {typ: kind for kind, typ in TYPES.items()}


LOGIN_AUDIENCE = "parsegate:login"
LOGIN_TYPE = "parsegate-login+jwt"
LOGIN_CODE_LIFETIME = 600.0
"""Seconds for which the link that a person logs in by can be used, once."""


@dataclass(frozen=True)
class LoginCode:
    """What a verified one-time code grants.

    :param id: names the code, so that it can be recorded as used
    :param principal: the operator whose session it opens
    :param session_lifetime: seconds for which that session is valid
    :param https: whether the link that holds the code is one of https
    """

    id: str
    principal: Principal
    session_lifetime: float
    https: bool


class TokenRefused(Exception):
    """A token that is not accepted; the message is for the caller and says nothing that would help to forge one."""


class KeysUnavailable(Exception):
    """The keys at ``[api_auth] trusted_jwks_url`` could not be fetched, so nobody can be verified just now."""


class KeysMisconfigured(Exception):
    """Airflow's configuration names no key to sign with, or one that the gateway could not verify afterwards."""


class TokenMinter:
    """Signs tokens with Airflow's signing key.

    :raises KeysMisconfigured: there is no key that every process would share
    """

    def __init__(self) -> None:
        try:
            signing = get_signing_args(make_secret_key_if_needed=False)
            self._generators = {
                kind: JWTGenerator(audience=audience, valid_for=0, **signing) for kind, audience in AUDIENCES.items()
            }
            self._login_generator = JWTGenerator(audience=LOGIN_AUDIENCE, valid_for=0, **signing)
        except (ValueError, OSError) as error:
            raise KeysMisconfigured(
                f"No usable key to sign tokens with: {error} Set [api_auth] jwt_secret or jwt_private_key_path to the "
                "same key in every process of the gateway and wherever tokens are minted."
            ) from error
        if "private_key" not in signing and conf.get("api_auth", "trusted_jwks_url", fallback=None):
            raise KeysMisconfigured(
                "[api_auth] trusted_jwks_url is set, so a token signed with jwt_secret would be refused. Set "
                "jwt_private_key_path to a key whose public half is in that set."
            )

    @property
    def key_id(self) -> str:
        """The ``kid`` of the tokens."""
        return self._generators[TokenKind.JOB].kid

    def mint(self, principal: Principal, lifetime: float) -> tuple[str, datetime]:
        """A token that :class:`TokenVerifier` turns back into ``principal``, and when it expires.

        :param lifetime: seconds
        """
        token = self._generators[principal.kind].generate(
            extras=_claims_of(principal), headers={"typ": TYPES[principal.kind]}, valid_for=lifetime
        )
        return token, _expiry(token)

    def mint_login_code(
        self, principal: Principal, session_lifetime: float, *, https: bool = False
    ) -> tuple[str, datetime]:
        """A one-time code that a browser redeems at ``/login`` for a session, and when it expires.

        :param principal: the operator that the session will be of
        :param session_lifetime: seconds for which the session will be valid
        :param https: whether browsers reach the gateway over TLS, even if it ends at a proxy before the gateway
        """
        claims = {**_claims_of(principal), "session_lifetime": session_lifetime, "https": https}
        code = self._login_generator.generate(extras=claims, headers={"typ": LOGIN_TYPE}, valid_for=LOGIN_CODE_LIFETIME)
        return code, _expiry(code)

    def mint_job_token(
        self, lifetime: float, job_id: int, subject: str, bundles: frozenset[str]
    ) -> tuple[str, datetime]:
        """The token of one registered processor, bound to its Job. ``lifetime`` is in seconds."""
        return self.mint(Principal(kind=TokenKind.JOB, subject=subject, bundles=bundles, job_id=job_id), lifetime)


class TokenVerifier:
    """Turns a token into the principal that it names, or refuses it.

    :raises KeysMisconfigured: there is no key to verify with
    """

    def __init__(self, minter: TokenMinter) -> None:
        try:
            arguments = get_sig_validation_args(make_secret_key_if_needed=False)
            if "jwks" in arguments and not conf.get("api_auth", "trusted_jwks_url", fallback=None):
                # Airflow's own set has the key by its thumbprint even when [api_auth] jwt_kid signs under another name.
                private_key = get_signing_args(make_secret_key_if_needed=False)["private_key"]
                arguments["jwks"] = JWKS.from_private_key((private_key, minter.key_id))
            required = frozenset({"exp", "iat", "nbf", "jti", "sub"})
            self._validators = {
                kind: JWTValidator(audience=audience, required_claims=required, **arguments)
                for kind, audience in AUDIENCES.items()
            }
            self._login_validator = JWTValidator(audience=LOGIN_AUDIENCE, required_claims=required, **arguments)
        except (ValueError, OSError) as error:
            raise KeysMisconfigured(f"No usable key to verify tokens with: {error}") from error
        self._jwks: JWKS | None = arguments.get("jwks")

    async def verify_login_code(self, code: str) -> LoginCode:
        """What a one-time code of :meth:`TokenMinter.mint_login_code` grants; whether it was used is not known here.

        :raises TokenRefused: it is not one of ours, or no longer valid
        :raises KeysUnavailable: the keys could not be fetched
        """
        with self._refusals():
            if jwt.get_unverified_header(code).get("typ") != LOGIN_TYPE:
                raise TokenRefused("This is no login code.")
            claims = await self._login_validator.avalidated_claims(code)
        code_id: object = claims["jti"]
        session_lifetime: object = claims.get("session_lifetime")
        if not isinstance(code_id, str) or not 1 <= len(code_id) <= 36:
            raise TokenRefused("The login code has no id.")
        if not isinstance(session_lifetime, int | float) or claims["exp"] - claims["iat"] > LOGIN_CODE_LIFETIME:
            raise TokenRefused("The login code is for no session.")
        return LoginCode(
            code_id, _principal(TokenKind.OPERATOR, claims), float(session_lifetime), claims.get("https") is True
        )

    async def verify(self, token: str) -> Principal:
        """The principal that ``token`` names.

        :raises TokenRefused: it is not one of ours, or no longer valid
        :raises KeysUnavailable: the keys could not be fetched
        """
        with self._refusals():
            # Unverified, it only picks the audience that the verified token must then have.
            kind = _KINDS_BY_TYPE.get(str(jwt.get_unverified_header(token).get("typ")))
            if kind is None:
                raise TokenRefused("The token is of no kind that this gateway accepts.")
            claims = await self._validators[kind].avalidated_claims(token)
        return _principal(kind, claims)

    @contextmanager
    def _refusals(self) -> Generator[None]:
        """What PyJWT raises, as what the caller is told."""
        try:
            yield
        except jwt.ExpiredSignatureError as error:
            raise TokenRefused("The token has expired.") from error
        except jwt.ImmatureSignatureError as error:
            raise TokenRefused("The token is not valid yet.") from error
        except jwt.PyJWTError as error:
            if self._jwks is not None and self._jwks.url.startswith("http") and self._jwks.fetched_at == 0:
                raise KeysUnavailable from error
            logger.info("Refused a token: %s: %s", type(error).__name__, error)
            raise TokenRefused("The token is not valid for this gateway.") from error


def _claims_of(principal: Principal) -> dict[str, Any]:
    claims: dict[str, Any] = {"sub": principal.subject, "bundles": sorted(principal.bundles)}
    if principal.job_id is not None:
        claims["job_id"] = principal.job_id
    if principal.permissions:
        claims["permissions"] = sorted(permission.value for permission in principal.permissions)
    return claims


def _expiry(token: str) -> datetime:
    return datetime.fromtimestamp(jwt.decode(token, options={"verify_signature": False})["exp"], tz=UTC)


def _principal(kind: TokenKind, claims: Mapping[str, Any]) -> Principal:
    subject = claims["sub"]
    bundles: object = claims.get("bundles")
    job_id: object = claims.get("job_id")
    if not isinstance(subject, str) or not subject:
        raise TokenRefused("The token names no subject.")
    if not isinstance(bundles, list) or not all(
        isinstance(name, str) and name for name in cast("list[object]", bundles)
    ):
        raise TokenRefused("The token names no bundles.")
    if kind is TokenKind.JOB:
        if not isinstance(job_id, int) or isinstance(job_id, bool):
            raise TokenRefused("The token names no Job.")
    elif job_id is not None:
        raise TokenRefused("Only a job token names a Job.")
    return Principal(
        kind=kind,
        subject=subject,
        bundles=frozenset(cast("list[str]", bundles)),
        job_id=job_id,
        permissions=_permissions(kind, claims.get("permissions")),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
    )


def _permissions(kind: TokenKind, named: object) -> frozenset[Permission]:
    """A permission that this gateway does not know allows nothing here; a newer one may have minted the token."""
    if named is None:
        return frozenset()
    if kind is not TokenKind.OPERATOR:
        raise TokenRefused("Only an operator token has permissions.")
    if not isinstance(named, list):
        raise TokenRefused("The token's permissions are no list.")
    return frozenset(permission for permission in Permission if permission.value in cast("list[object]", named))


__all__ = [
    "ALL_BUNDLES",
    "AUDIENCES",
    "LOGIN_CODE_LIFETIME",
    "TYPES",
    "KeysMisconfigured",
    "KeysUnavailable",
    "LoginCode",
    "TokenMinter",
    "TokenRefused",
    "TokenVerifier",
]
