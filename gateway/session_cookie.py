"""The cookie that a person's browser is logged in by: an operator token that no script can read.

The browser sends it along with every request, whoever caused that. So a request that it authenticates must also show
that it comes from one of the gateway's own pages: a POST by a header that no other site's page can set, a WebSocket by
its ``Origin``. ``SameSite=Strict`` keeps the cookie from other sites' requests already; the header and the origin keep
out other ports and other names of the same site, too.
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response

COOKIE = "parsegate_session"
CSRF_HEADER = "X-Parsegate-CSRF"

_DEFAULT_PORTS = {"http": 80, "https": 443}
_READING_METHODS = frozenset({"GET", "HEAD"})


def set_session(response: Response, token: str, expires_at: datetime, *, https: bool) -> None:
    """Have the browser keep ``token`` until it expires; with ``https``, send it over TLS alone."""
    seconds = max(0, int((expires_at - datetime.now(UTC)).total_seconds()))
    response.set_cookie(COOKIE, token, max_age=seconds, path="/", secure=https, httponly=True, samesite="strict")


def clear_session(response: Response, *, https: bool) -> None:
    """Have the browser forget the session."""
    response.delete_cookie(COOKIE, path="/", secure=https, httponly=True, samesite="strict")


def shows_own_page(connection: HTTPConnection) -> bool:
    """Whether what the cookie authenticates was caused by a page of this gateway, or reads and is answered to one."""
    if connection.scope["type"] == "websocket":
        return has_own_origin(connection)
    return connection.scope["method"] in _READING_METHODS or connection.headers.get(CSRF_HEADER) == "1"


def has_own_origin(connection: HTTPConnection) -> bool:
    """Whether ``Origin`` names the host that the request was sent to.

    The scheme is not compared, because TLS may end at a proxy before the gateway.
    """
    origins = connection.headers.getlist("origin")
    try:
        origin = urlsplit(origins[0]) if len(origins) == 1 else None
        if origin is None or origin.scheme not in _DEFAULT_PORTS or origin.hostname is None:
            return False
        default = _DEFAULT_PORTS[origin.scheme]
        host = urlsplit(f"//{connection.headers.get('host', '')}")
        return (origin.hostname, origin.port or default) == (host.hostname, host.port or default)
    except ValueError:
        return False


def is_from_other_site(connection: HTTPConnection) -> bool:
    """Whether the browser says that another site's page sent this form.

    Forms of pages without referrers have ``Origin: null``, which says nothing.
    """
    fetched_by = connection.headers.get("sec-fetch-site", "same-origin")
    if fetched_by not in ("same-origin", "none"):
        return True
    return connection.headers.get("origin", "null") != "null" and not has_own_origin(connection)
