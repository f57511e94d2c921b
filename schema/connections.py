"""Connections, decrypted on the gateway, for the file that asks."""

from __future__ import annotations

from typing import Annotated

import strawberry

from ..resolvers import connections, reads
from ..resolvers.principal import TokenKind
from ..resolvers.refusals import Refusal
from .context import Info
from .reads import FileReferenceInput, Read, found, unanswered


@strawberry.type(
    description="An Airflow connection in clear text, as the Task SDK's `ConnectionResponse`; null fields unless found."
)
class ConnectionRead(Read):
    conn_id: str | None = strawberry.field(default=None, description="The connection's id.")
    conn_type: str | None = strawberry.field(default=None, description="The connection's type, such as `postgres`.")
    host: str | None = strawberry.field(default=None, description="Host name or address; null when none is set.")
    schema: str | None = strawberry.field(default=None, description="Schema or database; null when none is set.")
    login: str | None = strawberry.field(default=None, description="User name; null when none is set.")
    password: str | None = strawberry.field(default=None, description="The password, decrypted; null when none is set.")
    port: int | None = strawberry.field(default=None, description="TCP port; null when none is set.")
    extra: str | None = strawberry.field(
        default=None,
        description="Further parameters, decrypted, as the JSON text that was stored; null when none are set.",
    )


@strawberry.type
class ConnectionQuery:
    @strawberry.field(
        description=(
            "A connection, from the gateway's secrets backends or the metadata database. With `[core] multi_team`, "
            "connections of the bundle's own team and of no team are visible. Needs a job token."
        )
    )
    def connection(
        self,
        info: Info,
        conn_id: Annotated[str, strawberry.argument(description="Id of the connection, as DAG code names it.")],
        file: Annotated[FileReferenceInput, strawberry.argument(description="The file that asks.")],
    ) -> ConnectionRead:
        principal = info.context.require(TokenKind.JOB)
        try:
            with info.context.reading() as session:
                team = reads.authorize(session, principal, file.reference())
            connection = connections.from_secrets_backends(conn_id, team)
            if connection is None:
                with info.context.reading() as session:
                    connection = connections.from_database(session, conn_id, team)
        except (reads.AnsweredNotFound, Refusal) as error:
            return unanswered(ConnectionRead, error)
        return found(ConnectionRead, **connection.model_dump(by_alias=True))
