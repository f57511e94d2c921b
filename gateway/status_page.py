"""The status page at ``/``: parse state for people who do not write GraphQL.

What it shows comes from the document ``status/status.graphql``, executed like any other operation of the visitor, so
that the page and the API cannot disagree. It is whole without a script; the one it has asks for the page again when
something changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from starlette.authentication import AuthenticationError
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response
from strawberry.types.graphql import OperationType

from .authentication import Caller, refuse_authentication
from .errors import ErrorCode, request_id_of
from .graphql_request import GraphQLRequest
from .session_cookie import COOKIE
from .status_templates import FOLDER, render

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from .execution import Execution

DOCUMENT = (FOLDER / "status.graphql").read_text(encoding="utf-8")
PAGE_SIZE = 50
LONGEST_TEXT = 2000

SHOWN: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "all": ("All files", {}),
    "failing": ("Failing", {"failing": True}),
    "errors": ("With import errors", {"hasImportErrors": True}),
    "timed-out": ("Timed out", {"status": "TIMED_OUT"}),
    "refused": ("Refused", {"status": "REFUSED"}),
}
"""Which files the list can be narrowed to: what the page calls them, and the arguments that say so."""

ORDERS: Mapping[str, tuple[str, str]] = {
    "path": ("Path", "PATH"),
    "slowest": ("Slowest first", "SLOWEST"),
    "newest": ("Parsed last first", "LAST_PARSED"),
    "oldest": ("Longest not parsed first", "OLDEST_PARSE"),
}
"""How the list can be ordered: what the page calls it, and the contract's name."""

_STATUSES = {
    ErrorCode.BAD_USER_INPUT.value: 400,
    ErrorCode.FORBIDDEN.value: 403,
    ErrorCode.UNAVAILABLE.value: 503,
}


@dataclass(frozen=True)
class Filters:
    """What the address asks the list of files to be narrowed to; empty text stands for everything."""

    bundle: str
    path: str
    show: str
    order: str
    after: str

    @classmethod
    def of(cls, request: Request) -> Filters:
        parameters = {name: request.query_params.get(name, "")[:LONGEST_TEXT] for name in ("bundle", "path", "after")}
        show, order = request.query_params.get("show", ""), request.query_params.get("order", "")
        return cls(show=show if show in SHOWN else "all", order=order if order in ORDERS else "path", **parameters)

    def variables(self) -> dict[str, Any]:
        return {
            "bundle": self.bundle or None,
            "pathPrefix": self.path or None,
            "first": PAGE_SIZE,
            "after": self.after or None,
            "orderBy": ORDERS[self.order][1],
            **SHOWN[self.show][1],
        }


class StatusPage:
    """ASGI application of ``/``, to be put inside Starlette's AuthenticationMiddleware.

    :param execution: runs the page's document
    :param login_address: tells where a visitor logs in, when that is not by a link of ``parsegate token operator``
    :param frame_ancestors: who may show the page in a frame, as the policy ``frame-ancestors`` has it
    """

    def __init__(
        self,
        execution: Execution,
        *,
        login_address: Callable[[], str] | None = None,
        frame_ancestors: str = "'none'",
    ) -> None:
        self._execution = execution
        self._login_address = login_address
        self._headers = {
            # It holds error texts and names of whoever is logged in.
            "Cache-Control": "no-store",
            "Content-Security-Policy": (
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
                f"base-uri 'none'; form-action 'self'; frame-ancestors {frame_ancestors}"
            ),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if not isinstance(request.user, Caller):
            address = None if self._login_address is None else self._login_address()
            return await self._page(401, "login.html", login_address=address)
        filters = Filters.of(request)
        operation = GraphQLRequest(DOCUMENT, filters.variables(), "Status", None)
        executed = await self._execution.answer(
            operation, request.user.principal, request_id_of(request), {OperationType.QUERY}
        )
        answer = json.loads(executed.body)
        if "errors" in answer:
            error = answer["errors"][0]
            status = _STATUSES.get(error["extensions"]["code"], 500)
            return await self._page(status, "failure.html", error=error, request_id=request_id_of(request))
        return await self._page(
            200,
            "status.html",
            **answer["data"],
            filters=filters,
            choices={"show": SHOWN, "order": ORDERS},
            user=request.user,
            can_log_out=self._login_address is None and COOKIE in request.cookies,
        )

    def refuse(self, connection: HTTPConnection, error: AuthenticationError) -> Response:
        """The page for a visitor whose login was refused."""
        refused = refuse_authentication(connection, error)
        text = render(
            "failure.html", error=json.loads(bytes(refused.body))["errors"][0], request_id=request_id_of(connection)
        )
        return HTMLResponse(text, status_code=refused.status_code, headers=self._headers)

    async def _page(self, status: int, template: str, **values: Any) -> Response:
        text = await to_thread.run_sync(lambda: render(template, **values))
        return HTMLResponse(text, status_code=status, headers=self._headers)
