"""Keyset pagination: pages of a list that neither repeat nor skip a row while others insert.

A cursor holds the sort key of the row that it stands behind, and the name of the order that the key belongs to. The
next page begins after that key, whether or not its row still exists, and costs the same however far down the list it is
(an offset does neither). Cursors are opaque to clients, so that an order can be added or changed: a cursor of another
list or order is refused, never misread.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from sqlalchemy import Float, Integer, and_, false, func, literal, or_, tuple_
from sqlalchemy.types import TypeDecorator, TypeEngine

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import InstrumentedAttribute, Session

    Rows = Select[*tuple[Any, ...]]

MAX_PAGE_SIZE = 500

Row = Mapping[str, Any]
RowT_co = TypeVar("RowT_co", covariant=True)


class InvalidPage(ValueError):
    """A page was asked for in a way that names none.

    :param argument: the argument that is wrong, ``first`` or ``after``
    :param message: what is wrong and what would be right, for a person
    """

    def __init__(self, argument: str, message: str) -> None:
        super().__init__(message)
        self.argument = argument


@dataclass(frozen=True)
class PageRequest:
    """Which page is wanted: the ``first`` rows behind the cursor ``after``, or of the whole list."""

    first: int
    after: str | None = None

    def __post_init__(self) -> None:
        check_page_size(self.first)


@dataclass(frozen=True)
class Page(Generic[RowT_co]):
    """A part of a list, in its order.

    :param rows: what was found
    :param cursors: the cursor behind each row
    :param has_next_page: whether rows follow
    :param has_previous_page: whether the page was asked for with a cursor, hence rows (may) precede
    """

    rows: Sequence[RowT_co]
    cursors: Sequence[str]
    has_next_page: bool
    has_previous_page: bool = False


class Listing(Protocol):
    """A list that can be read page by page, with a query or two for each page whatever its size."""

    def page(self, session: Session, request: PageRequest) -> Page[Row]:
        """The page that ``request`` names; raises :class:`InvalidPage`."""
        ...

    def count(self, session: Session) -> int:
        """How many rows the whole list has."""
        ...


@dataclass(frozen=True)
class Sort:
    """One column of an order.

    :param nullable: whether it may be null; nulls come last, whatever the direction
    """

    column: InstrumentedAttribute[Any] | ColumnElement[Any]
    descending: bool = False
    nullable: bool = False

    @property
    def clause(self) -> ColumnElement[Any]:
        ordered = self.column.desc() if self.descending else self.column.asc()
        return ordered.nulls_last() if self.nullable else ordered

    def equals(self, value: Any) -> ColumnElement[bool]:
        return self.column.is_(None) if value is None else self.column == self._literal(value)

    def is_behind(self, value: Any) -> ColumnElement[bool]:
        if value is None:
            return false()
        behind = self.column < self._literal(value) if self.descending else self.column > self._literal(value)
        return behind | self.column.is_(None) if self.nullable else behind

    def _literal(self, value: Any) -> ColumnElement[Any]:
        return literal(value, self.column.type)


class Keyset:
    """A total order by columns that together are unique.

    :param name: names the order in its cursors; change it when the columns change
    :param columns: the sort key, most significant first; bare columns are never null
    :param descending: the direction of bare columns
    """

    def __init__(
        self, name: str, *columns: InstrumentedAttribute[Any] | ColumnElement[Any] | Sort, descending: bool = False
    ) -> None:
        self.name = name
        self.sorts = [item if isinstance(item, Sort) else Sort(item, descending) for item in columns]
        self.columns = [sort.column for sort in self.sorts]

    def cursor(self, values: Sequence[Any]) -> str:
        return encode_cursor(self.name, values)

    def following(self, statement: Rows, after: str | None) -> Rows:
        """``statement`` in this order, from behind the cursor ``after``."""
        return statement.where(*self.behind(after)).order_by(*(sort.clause for sort in self.sorts))

    def behind(self, after: str | None) -> list[ColumnElement[bool]]:
        """The condition that a row is behind the cursor ``after``; none for the front of the list."""
        if after is None:
            return []
        values = decode_cursor(self.name, after, [column.type for column in self.columns], self._nullable)
        return [self._behind(values)]

    @property
    def _nullable(self) -> list[bool]:
        return [sort.nullable for sort in self.sorts]

    def _behind(self, values: Sequence[Any]) -> ColumnElement[bool]:
        if not any(self._nullable) and len({sort.descending for sort in self.sorts}) == 1:
            # One comparison of rows, for which databases use an index.
            key = tuple_(*self.columns)
            bound = tuple_(*(literal(value, column.type) for value, column in zip(values, self.columns, strict=True)))
            return key < bound if self.sorts[0].descending else key > bound
        pairs = list(zip(self.sorts, values, strict=True))
        return or_(
            *(
                and_(*(earlier.equals(bound) for earlier, bound in pairs[:index]), sort.is_behind(value))
                for index, (sort, value) in enumerate(pairs)
            )
        )


@dataclass(frozen=True)
class SelectListing:
    """The rows of one SELECT of labelled columns, in the order of ``keyset``."""

    statement: Rows
    keyset: Keyset

    def page(self, session: Session, request: PageRequest) -> Page[Row]:
        keys = [column.label(f"_key_{index}") for index, column in enumerate(self.keyset.columns)]
        statement = self.keyset.following(self.statement, request.after).add_columns(*keys).limit(request.first + 1)
        found = session.execute(statement).mappings().all()
        rows = [dict(row) for row in found[: request.first]]
        cursors = [self.keyset.cursor([row.pop(key.name) for key in keys]) for row in rows]
        return Page(rows, cursors, len(found) > request.first, request.after is not None)

    def count(self, session: Session) -> int:
        statement = self.statement.with_only_columns(func.count(), maintain_column_froms=True)
        return session.scalars(statement).one()


def check_page_size(first: int, largest: int = MAX_PAGE_SIZE) -> None:
    """Raise :class:`InvalidPage` unless ``first`` is a whole number from 1 to ``largest``."""
    if not 1 <= first <= largest:
        raise InvalidPage("first", f"`first` is {first}; it must be from 1 to {largest}.")


def encode_cursor(order: str, values: Sequence[Any]) -> str:
    """The cursor behind the row whose sort key in ``order`` is ``values``."""
    key = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    document = json.dumps([order, *key], separators=(",", ":"))
    return urlsafe_b64encode(document.encode()).decode().rstrip("=")


def decode_cursor(
    order: str, cursor: str, types: Sequence[TypeEngine[Any]], nullable: Sequence[bool] | None = None
) -> list[Any]:
    """The sort key in ``cursor``.

    :param nullable: which of the values may be None; by default none may
    :raises InvalidPage: unless it is a cursor of ``order`` with values of ``types``
    """
    try:
        document = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        named, *key = document
        if named == order:
            may_be_null = nullable or [False] * len(types)
            return [
                None if value is None and null else _key_value(value, type_)
                for value, type_, null in zip(key, types, may_be_null, strict=True)
            ]
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    raise InvalidPage(
        "after",
        "`after` is not a cursor of this list in this order; pass a `cursor` or `endCursor` that it returned.",
    )


def _key_value(value: Any, type_: TypeEngine[Any]) -> Any:
    python_type = type_.impl_instance.python_type if isinstance(type_, TypeDecorator) else type_.python_type
    if python_type is datetime and isinstance(value, str):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("A cursor's time has a time zone.")
        return moment.astimezone(UTC)
    if isinstance(type_, Integer):
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
            raise ValueError("A cursor's number is whole and has at most 64 bits.")
        return value
    if isinstance(type_, Float):
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise ValueError("A cursor's number is finite.")
        return float(value)
    if not isinstance(value, str) or not is_storable(value):
        raise ValueError("A cursor's text can be compared with stored text.")
    return value


def is_storable(text: str) -> bool:
    """Whether a database could hold ``text``: no NUL (PostgreSQL refuses it) and no lone surrogate."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
