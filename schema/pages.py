"""Relay connections: how a list of the contract is read page by page.

The shape is Relay's, so lists can gain orders, backward paging or fields on edges without breaking a client. Pages are
cut by :mod:`parsegate.resolvers.pages`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Generic, TypeVar

import strawberry
from graphql import GraphQLError
from strawberry.relay import PageInfo

from ..resolvers.pages import MAX_PAGE_SIZE, InvalidPage, Listing, Page, PageRequest, Row, is_storable
from .context import Info, OperationContext

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

NodeT = TypeVar("NodeT")

First = Annotated[int, strawberry.argument(description=f"How many items to return at most, 1 to {MAX_PAGE_SIZE}.")]
After = Annotated[
    str | None,
    strawberry.argument(
        description="Return what follows this cursor, an `endCursor` of the same list in the same order with the "
        "same filters; null starts at the front."
    ),
]
BundleFilter = Annotated[
    str | None, strawberry.argument(description="Only of the bundle with this name; null for all.")
]
PathFilter = Annotated[
    str | None,
    strawberry.argument(
        description="Only of files whose path in the bundle starts with this, case included, such as `team_a/`; "
        "null for all."
    ),
]


@strawberry.type(description="One item of a list, with its place in it.")
class Edge(Generic[NodeT]):
    cursor: str = strawberry.field(
        description="Opaque place of the item in the list; as `after` it gives what follows, also when the item is "
        "gone by then."
    )
    node: NodeT = strawberry.field(description="The item.")


@strawberry.type(
    description="A page of a list. Page on with `pageInfo.endCursor` as `after`: no item comes twice or is left out "
    "because "
    "others are added meanwhile."
)
class Connection(Generic[NodeT]):
    edges: list[Edge[NodeT]] = strawberry.field(description="The page's items in order, each with its cursor.")
    page_info: PageInfo = strawberry.field(description="Whether there is more, and how to get it.")
    total: strawberry.Private[Callable[[OperationContext], Awaitable[int]]]

    @strawberry.field(description="The page's items in order, for those who need no cursors.")
    def nodes(self) -> list[NodeT]:
        return [edge.node for edge in self.edges]

    @strawberry.field(
        description="Number of items in the whole list, with its filters. Counted at the time of the request, by "
        "another query."
    )
    async def total_count(self, info: Info) -> int:
        return await self.total(info.context)


def connect(
    page: Page[Row], node: Callable[[Row], NodeT], total: Callable[[OperationContext], Awaitable[int]]
) -> Connection[NodeT]:
    """``page`` as a connection of what ``node`` makes of its rows; ``total`` counts the whole list when asked."""
    edges = [Edge(cursor=cursor, node=node(row)) for cursor, row in zip(page.cursors, page.rows, strict=True)]
    return Connection(
        edges=edges,
        page_info=PageInfo(
            has_next_page=page.has_next_page,
            has_previous_page=page.has_previous_page,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
        total=total,
    )


def read_page(
    context: OperationContext,
    listing: Callable[[Session], Listing],
    node: Callable[[Row], NodeT],
    *,
    first: int,
    after: str | None,
) -> Connection[NodeT]:
    """The page of a root list that ``first`` and ``after`` name, from a session of its own.

    :raises GraphQLError: code ``BAD_USER_INPUT``, when they name none
    """
    with page_errors(), context.reading() as session:
        page = listing(session).page(session, PageRequest(first, after))

    async def total(context: OperationContext) -> int:
        with context.reading() as session:
            return listing(session).count(session)

    return connect(page, node, total)


@contextmanager
def page_errors() -> Generator[None]:
    """Turns an impossible page into an error of the contract."""
    try:
        yield
    except InvalidPage as error:
        raise bad_argument(error.argument, str(error)) from None


def comparable(**texts: str | None) -> None:
    """Refuse text that no database could compare with what it stores.

    :param texts: arguments of a field by the contract's names
    """
    for argument, text in texts.items():
        if text is not None and not is_storable(text):
            raise bad_argument(argument, f"`{argument}` has a NUL character or half of a surrogate pair.")


def utc(argument: str, moment: datetime | None) -> datetime | None:
    """``moment``, which must say its time zone, in UTC."""
    if moment is None:
        return None
    try:
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except OverflowError:  # the first or last day that there is, in another zone
        pass
    raise bad_argument(argument, f"`{argument}` must be a time with a time zone, such as `2025-01-31T12:00:00Z`.")


def bad_argument(argument: str, message: str) -> GraphQLError:
    """An error about one argument of a field."""
    return GraphQLError(message, extensions={"code": "BAD_USER_INPUT", "argument": argument})
