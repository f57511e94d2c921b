"""Cursors and page sizes, apart from any list."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest


@pytest.mark.parametrize(
    "key",
    [
        ("dags", "folder/a.py"),
        ("", "Ünïcode \U0001f600"),
        ('quoted "', "\\"),
    ],
)
def test_a_cursor_gives_back_the_text_that_it_was_made_of(key: tuple[str, str]) -> None:
    from sqlalchemy import String

    from parsegate.resolvers.pages import decode_cursor, encode_cursor

    cursor = encode_cursor("files", key)

    assert cursor.isascii()
    assert "=" not in cursor
    assert decode_cursor("files", cursor, [String(), String(250)]) == list(key)


def test_a_cursor_gives_back_times_and_numbers_exactly() -> None:
    from airflow.utils.sqlalchemy import UtcDateTime
    from sqlalchemy import BigInteger

    from parsegate.resolvers.pages import decode_cursor, encode_cursor

    key = [datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC), 2**62]

    assert decode_cursor("x", encode_cursor("x", key), [UtcDateTime(), BigInteger()]) == key


@pytest.mark.parametrize(
    "key",
    [
        [],
        ["a"],
        ["a", "b", "c"],
        ["a", None],
        ["a", True],
        ["a", 1.5],
        ["a", "1"],
        ["a", 2**63],
        ["a", -(2**63)],
        [1, 1],
        [["a"], 1],
        ["a\0", 1],
        ["\ud800", 1],
    ],
)
def test_a_cursor_with_other_values_than_the_order_has_is_refused(key: list[object]) -> None:
    from sqlalchemy import Integer, String

    from parsegate.resolvers.pages import InvalidPage, decode_cursor, encode_cursor

    with pytest.raises(InvalidPage) as refused:
        decode_cursor("x", encode_cursor("x", key), [String(), Integer()])

    assert refused.value.argument == "after"


@pytest.mark.parametrize("text", ["2024-01-01T00:00:00", "yesterday", "", "0001-01-01T00:00:00+14:00"])
def test_a_cursor_with_a_time_that_is_none_is_refused(text: str) -> None:
    from airflow.utils.sqlalchemy import UtcDateTime

    from parsegate.resolvers.pages import InvalidPage, decode_cursor, encode_cursor

    with pytest.raises(InvalidPage):
        decode_cursor("x", encode_cursor("x", [text]), [UtcDateTime()])


def test_a_cursor_of_another_order_is_refused_though_its_values_fit() -> None:
    from sqlalchemy import String

    from parsegate.resolvers.pages import InvalidPage, decode_cursor, encode_cursor

    with pytest.raises(InvalidPage):
        decode_cursor("dags", encode_cursor("bundles", ["a"]), [String()])


def test_a_cursor_as_deep_as_a_well_is_refused() -> None:
    from base64 import urlsafe_b64encode

    from sqlalchemy import String

    from parsegate.resolvers.pages import InvalidPage, decode_cursor

    with pytest.raises(InvalidPage):
        decode_cursor("x", urlsafe_b64encode(b"[" * 100_000).decode(), [String()])


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e-300, 5, -0.0])
def test_a_cursor_gives_back_a_duration_exactly(value: float) -> None:
    from sqlalchemy import Float

    from parsegate.resolvers.pages import decode_cursor, encode_cursor

    assert decode_cursor("x", encode_cursor("x", [value]), [Float()]) == [value]


@pytest.mark.parametrize("value", [True, "1", float("nan"), float("inf"), None, 10**400])
def test_a_cursor_with_a_duration_that_is_none_is_refused(value: object) -> None:
    from sqlalchemy import Float

    from parsegate.resolvers.pages import InvalidPage, decode_cursor, encode_cursor

    with pytest.raises(InvalidPage):
        decode_cursor("x", encode_cursor("x", [value]), [Float()])


def test_null_is_a_place_only_in_an_order_of_what_may_be_null() -> None:
    from sqlalchemy import Float, String

    from parsegate.resolvers.pages import InvalidPage, decode_cursor, encode_cursor

    types = [Float(), String()]

    assert decode_cursor("x", encode_cursor("x", [None, "a"]), types, [True, False]) == [None, "a"]
    with pytest.raises(InvalidPage):
        decode_cursor("x", encode_cursor("x", [None, None]), types, [True, False])


@pytest.mark.parametrize("first", [1, 500])
def test_the_bounds_of_a_page_size_are_in(first: int) -> None:
    from parsegate.resolvers.pages import PageRequest

    assert PageRequest(first).first == first


@pytest.mark.parametrize("first", [0, 501, -5])
def test_a_page_size_beyond_its_bounds_is_refused(first: int) -> None:
    from parsegate.resolvers.pages import InvalidPage, PageRequest

    with pytest.raises(InvalidPage) as refused:
        PageRequest(first)

    assert refused.value.argument == "first"
