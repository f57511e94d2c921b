"""How Alembic runs these migrations: on Airflow's engine, with our MetaData and version table."""

from __future__ import annotations

from typing import Any

from airflow import settings
from alembic import context

# Alembic runs this file by its path, outside any package: imports cannot be relative, and pyright cannot follow them.
from parsegate.gateway.db_manager import VERSION_TABLE  # pyright: ignore[reportMissingImports]
from parsegate.resolvers.tables import ParsegateBase  # pyright: ignore[reportMissingImports]


def _is_ours(_: object, name: str | None, kind: str, *__: Any) -> bool:
    return kind != "table" or name in ParsegateBase.metadata.tables


def _run_offline() -> None:
    context.configure(
        url=settings.SQL_ALCHEMY_CONN,
        target_metadata=ParsegateBase.metadata,
        literal_binds=True,
        render_as_batch=True,
        include_object=_is_ours,
        version_table=VERSION_TABLE,
    )
    with context.begin_transaction():
        context.run_migrations()


def _run_online() -> None:
    with settings.get_engine().connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=ParsegateBase.metadata,
            transaction_per_migration=True,
            render_as_batch=True,
            include_object=_is_ours,
            version_table=VERSION_TABLE,
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    _run_offline()
else:
    _run_online()
