"""A small schema for tests of the gateway itself, with fields that store, fail, wait and say who asks."""

from __future__ import annotations

import threading
import time

import strawberry
from airflow.models import Variable
from sqlalchemy import func, select, text
from strawberry.schema.config import StrawberryConfig

from parsegate.gateway.limits import EXTENSIONS
from parsegate.resolvers.principal import TokenKind
from parsegate.schema.context import Info
from parsegate.schema.scalars import SCALAR_MAP, BigInt, SerializedDag

SECRET = "a secret that a fault must not tell"

executing_threads: list[str] = []


@strawberry.type
class Deep:
    @strawberry.field
    def deeper(self) -> Deep:
        return Deep()

    @strawberry.field
    def name(self) -> str:
        return "deep"


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "you") -> str:
        executing_threads.append(threading.current_thread().name)
        return f"Hello {name}"

    @strawberry.field
    def double(self, number: BigInt) -> BigInt:
        return BigInt(number * 2)

    @strawberry.field
    def tasks(self, document: SerializedDag) -> int:
        return len(document)

    @strawberry.field
    def literal(self, document: SerializedDag) -> str:
        """What the gateway understood, in ASCII: tells 1 from 1.0 and shows NaN and halves of surrogate pairs."""
        return ascii(document)

    @strawberry.field
    def returned(self, document: SerializedDag) -> strawberry.scalars.JSON:
        return strawberry.scalars.JSON(document)

    @strawberry.field
    def not_a_number(self) -> strawberry.scalars.JSON:
        return strawberry.scalars.JSON({"value": float("nan")})

    @strawberry.field
    def fault(self) -> str:
        raise ValueError(SECRET)

    @strawberry.field
    def optional_fault(self) -> str | None:
        raise ValueError(SECRET)

    @strawberry.field
    def who(self, info: Info) -> str:
        principal = info.context.principal
        return f"{principal.kind.value} {principal.subject} {sorted(principal.bundles)} {principal.job_id}"

    @strawberry.field
    def for_jobs(self, info: Info) -> str:
        return info.context.require(TokenKind.JOB).subject

    @strawberry.field
    def for_processors(self, info: Info) -> str:
        return info.context.require(TokenKind.PROCESSOR).subject

    @strawberry.field
    def for_operators(self, info: Info) -> str:
        return info.context.require(TokenKind.OPERATOR).subject

    @strawberry.field
    def deep(self) -> Deep:
        return Deep()

    @strawberry.field
    def variable_count(self, info: Info) -> int:
        with info.context.reading() as session:
            return session.scalar(select(func.count()).select_from(Variable)) or 0

    @strawberry.field
    def wait(self, seconds: float) -> str:
        time.sleep(seconds)
        return "waited"

    @strawberry.field
    def wait_in_database(self, info: Info, seconds: float) -> str:
        """Holds a connection of the pool meanwhile."""
        with info.context.reading() as session:
            session.execute(text("SELECT 1"))
            time.sleep(seconds)
            return "waited"


@strawberry.type
class Mutation:
    @strawberry.mutation
    def store_variable(self, info: Info, key: str, fail: bool = False) -> int:
        with info.context.transaction() as session:
            session.add(Variable(key=key, val="value"))
            session.flush()
            if fail:
                raise ValueError(SECRET)
            return session.scalar(select(func.count()).select_from(Variable)) or 0


def small_schema() -> strawberry.Schema:
    return strawberry.Schema(
        Query, Mutation, config=StrawberryConfig(scalar_map=SCALAR_MAP), extensions=list(EXTENSIONS)
    )
