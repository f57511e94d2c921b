"""Who sends a request: the Bearer token of its ``Authorization`` header, or else of its session cookie, verified.

A request without either passes as nobody, so that a browser can load the GraphiQL page; the GraphQL endpoint answers it
with 401 when it asks for more. A Bearer token that is not valid is answered with 401 here; a cookie that is not is as
good as none, because the browser goes on sending it.
"""

from __future__ import annotations

from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser
from starlette.requests import HTTPConnection
from starlette.responses import Response

from ..resolvers.principal import Principal, TokenKind
from .errors import ErrorCode, RequestRefused, refusal_response
from .refused_tokens import count_missing_token, count_refused_token
from .session_cookie import COOKIE, CSRF_HEADER, shows_own_page
from .tokens import KeysUnavailable, TokenRefused, TokenVerifier

_CHALLENGE = 'Bearer realm="parsegate"'


class Caller(BaseUser):
    """Starlette's user of an authenticated request."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        return self.principal.subject

    @property
    def identity(self) -> str:
        return self.principal.subject


class ForeignRequest(AuthenticationError):
    """A request that is authenticated by a cookie and may come from any page."""


class NotAllowed(AuthenticationError):
    """A login that is known, and grants nothing of what is here."""


class TokenAuthentication(AuthenticationBackend):
    """Starlette's authentication backend over the gateway's tokens."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        headers = conn.headers.getlist("authorization")
        if not headers:
            return await self._cookie_s(conn)
        scheme, _, token = headers[0].partition(" ")
        if len(headers) > 1 or scheme.lower() != "bearer" or not token.strip():
            raise AuthenticationError("The Authorization header must be `Bearer TOKEN`, once.")
        try:
            principal = await self._verifier.verify(token.strip())
        except TokenRefused as refused:
            raise AuthenticationError(str(refused)) from refused
        except KeysUnavailable as unavailable:
            raise AuthenticationError from unavailable
        return AuthCredentials([principal.kind.value]), Caller(principal)

    async def _cookie_s(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        token = conn.cookies.get(COOKIE)
        if not token:
            return None
        try:
            principal = await self._verifier.verify(token)
        except TokenRefused:
            return None
        except KeysUnavailable as unavailable:
            raise AuthenticationError from unavailable
        if principal.kind is not TokenKind.OPERATOR:
            return None
        if shows_own_page(conn):
            return AuthCredentials([principal.kind.value]), Caller(principal)
        if conn.scope["type"] == "websocket":
            # It may yet say who it is by a token in its first message.
            return None
        raise ForeignRequest(f"A request that is authenticated by a cookie needs the header `{CSRF_HEADER}: 1`.")


def refuse_authentication(connection: HTTPConnection, error: AuthenticationError) -> Response:
    """The answer to a request whose token was refused."""
    if isinstance(error, ForeignRequest):
        return refusal_response(connection, RequestRefused(403, ErrorCode.CSRF_HEADER_REQUIRED, str(error)))
    count_refused_token(error)
    if isinstance(error.__cause__, KeysUnavailable):
        unavailable = RequestRefused(
            503,
            ErrorCode.UNAVAILABLE,
            "The keys that tokens are verified with cannot be fetched. Try again later.",
            {"Retry-After": "10"},
        )
        return refusal_response(connection, unavailable)
    if isinstance(error, NotAllowed):
        return refusal_response(connection, RequestRefused(403, ErrorCode.FORBIDDEN, str(error)))
    challenge = f'{_CHALLENGE}, error="invalid_token", error_description="{error!s}"'
    return refusal_response(
        connection, RequestRefused(401, ErrorCode.UNAUTHENTICATED, str(error), {"WWW-Authenticate": challenge})
    )


def authenticated_principal(connection: HTTPConnection) -> Principal:
    """Who sends the request.

    :raises RequestRefused: nobody says so
    """
    user = connection.user
    if not isinstance(user, Caller):
        count_missing_token()
        raise RequestRefused(
            401,
            ErrorCode.UNAUTHENTICATED,
            "This needs a token: send the header `Authorization: Bearer TOKEN`, with a token of `parsegate token`. A "
            "browser logs in by a link of `parsegate token operator --login-url`.",
            {"WWW-Authenticate": _CHALLENGE},
        )
    return user.principal
