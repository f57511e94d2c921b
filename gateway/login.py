"""Logging in by a one-time link, and out again: ``/login``, ``/logout`` and ``/session``.

The link is opened with GET, which changes nothing: programs that preview links would use it up. The page that it shows
has a button, and that POSTs the code. A form does without a script, and its code is not in the request's path, which
is what logs tell.
"""

from __future__ import annotations

import html
import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from ..resolvers.database import transaction
from ..resolvers.logins import CodeUsed, record_login
from .authentication import Caller
from .errors import ErrorCode, RequestRefused, refusal_response, request_id_of
from .session_cookie import COOKIE, clear_session, is_from_other_site, set_session
from .tokens import KeysUnavailable, TokenMinter, TokenRefused, TokenVerifier

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 * 1024
"""Of a login's form."""
MAX_CODE_LENGTH = 8 * 1024
"""Characters; the names of a few hundred bundles fit."""
MAX_WAITING = 32
"""Logins that may be under way in one process at once; those beyond are answered with 429."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # The code is in the page's URL.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

# One slash at the beginning, no more: a browser takes `//host` and `/\host` for another host.
_LOCAL_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,1000}")


class Login:
    """ASGI application of ``/login``.

    :param minter: signs the sessions' tokens
    :param verifier: verifies the codes
    """

    def __init__(self, minter: TokenMinter, verifier: TokenVerifier) -> None:
        self._minter = minter
        self._verifier = verifier
        # A thread of its own, so that busy operations don't delay it, and no crowd of logins delays them.
        self._turn = CapacityLimiter(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except RequestRefused as refused:
            response = refusal_response(request, refused)
        except ClientDisconnect:
            logger.info("The caller went away before its request was complete.")
            return
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method in ("GET", "HEAD"):
            code = request.query_params.get("code", "")
            if not 0 < len(code) <= MAX_CODE_LENGTH:
                return _refused(request)
            return _button(code, _local_path(request.query_params.get("next")))
        if request.method != "POST":
            raise RequestRefused(405, ErrorCode.METHOD_NOT_ALLOWED, "Method Not Allowed.", {"Allow": "GET, HEAD, POST"})
        if is_from_other_site(request):
            raise _other_site()
        fields = await _form(request)
        return await self._redeem(request, fields.get("code", ""), _local_path(fields.get("next")))

    async def _redeem(self, request: Request, code: str, path: str) -> Response:
        try:
            granted = await self._verifier.verify_login_code(code)
            if self._turn.statistics().tasks_waiting >= MAX_WAITING:
                raise RequestRefused(
                    429,
                    ErrorCode.TOO_MANY_REQUESTS,
                    "Too many people log in at once. Try again.",
                    {"Retry-After": "2"},
                )
            await to_thread.run_sync(_use_up, granted.id, limiter=self._turn)
        except KeysUnavailable as error:
            raise RequestRefused(
                503,
                ErrorCode.UNAVAILABLE,
                "The keys that login codes are verified with cannot be fetched. Try again later.",
                {"Retry-After": "10"},
            ) from error
        except TokenRefused as error:
            logger.info("Refused a login, request %s: %s", request_id_of(request), error)
            return _refused(request)
        except CodeUsed:
            logger.warning("Refused a login code that was used before, request %s.", request_id_of(request))
            return _refused(request)
        token, expires_at = self._minter.mint(granted.principal, granted.session_lifetime)
        # Relative, so that it also works where a proxy puts a path of its own in front.
        response = RedirectResponse(f".{path}", status_code=303, headers=HEADERS)
        set_session(response, token, expires_at, https=granted.https or request.url.scheme == "https")
        logger.info(
            "%s logged in, until %s, request %s.", granted.principal.subject, expires_at, request_id_of(request)
        )
        return response


async def logout(request: Request) -> Response:
    """Endpoint of ``/logout``: a form's POST that ends the browser's session."""
    if is_from_other_site(request):
        return refusal_response(request, _other_site())
    response = _page(
        "Logged out",
        "<p>This browser is logged out. The session&#8217;s token itself stays valid until it expires.</p>",
    )
    clear_session(response, https=request.url.scheme == "https")
    return response


async def session(request: Request) -> Response:
    """Endpoint of ``/session``: who the browser is logged in as, for the pages' scripts, which cannot read the cookie.

    ``{"subject": …, "bundles": […], "permissions": […], "canLogOut": …}``, or ``{"subject": null}``. Who came by
    another login than the one-time link does not log out here.
    """
    state: dict[str, object] = {"subject": None}
    if isinstance(request.user, Caller):
        principal = request.user.principal
        state = {
            "subject": principal.subject,
            "bundles": sorted(principal.bundles),
            "permissions": sorted(permission.value for permission in principal.permissions),
            "canLogOut": COOKIE in request.cookies,
        }
    return JSONResponse(state, headers=HEADERS)


def _use_up(code_id: str) -> None:
    with transaction() as session:
        record_login(session, code_id)


async def _form(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise RequestRefused(415, ErrorCode.UNSUPPORTED_MEDIA_TYPE, "The body must be a form's.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise RequestRefused(413, ErrorCode.PAYLOAD_TOO_LARGE, "The form is too large.")
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=8)
    except ValueError as error:
        raise RequestRefused(400, ErrorCode.BAD_REQUEST, "The body is no form's.") from error
    return {name: values[0] for name, values in fields.items()}


def _local_path(path: str | None) -> str:
    return path if path is not None and _LOCAL_PATH.fullmatch(path) else "/"


def _other_site() -> RequestRefused:
    return RequestRefused(403, ErrorCode.FORBIDDEN, "Another site's page sent this form.")


def _button(code: str, path: str) -> Response:
    return _page(
        "Log in to parsegate",
        f"""<form method="post" action="login">
<input type="hidden" name="code" value="{html.escape(code)}">
<input type="hidden" name="next" value="{html.escape(path)}">
<p>This link logs this browser in, once.</p>
<button type="submit" autofocus>Log in</button>
</form>""",
    )


def _refused(request: Request) -> Response:
    return _page(
        "This link does not log in",
        f"""<p>It was used before, or it has expired: a link works once, and for ten minutes. Where the gateway runs,
this prints another:</p>
<pre>parsegate token operator --login-url {html.escape(str(request.url.replace(path="", query="")))}</pre>""",
        403,
    )


def _page(title: str, body: str, status: int = 200) -> Response:
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="graphql/assets/login.css">
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""
    return HTMLResponse(text, status_code=status, headers=HEADERS)
