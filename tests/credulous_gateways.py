"""Gateways that overlook something when they judge whether a result is unchanged: what they then leave out must show.

Each is a context in which the gateway of this process is so.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

Credulity = Callable[[], AbstractContextManager[Any]]


def _overlooking(
    *,
    of_dags: Callable[[Any], dict[str, Any]] | None = None,
    aliases: bool = False,
    errors: bool = False,
    epoch: bool = False,
) -> Credulity:
    """:param of_dags: from ``DagRows``, fields that make all of them look alike"""

    @contextmanager
    def overlooking() -> Generator[None]:
        from parsegate.resolvers import imprints

        original = imprints._imprint

        def imprint(key: Any, written: Any, rows: Any, writer: str) -> Any:
            real = original(key, written, rows, writer)
            seen = replace(
                rows,
                dags={dag_id: replace(dag, **of_dags(dag)) if of_dags else dag for dag_id, dag in rows.dags.items()},
                aliases=dict.fromkeys(written.asset_aliases, ()) if aliases else rows.aliases,
                import_errors={key: ["?"] * written.import_error} if errors else rows.import_errors,
            )
            return replace(real, digest=original(key, written, seen, "" if epoch else writer).digest)

        with patch.object(imprints, "_imprint", imprint):
            yield

    return overlooking


def _patched(module: str, name: str, make: Callable[[], Any]) -> Credulity:
    return lambda: patch(f"parsegate.resolvers.{module}.{name}", make())


def _nothing() -> Any:
    from sqlalchemy import false

    return lambda: false()


OVERLOOKED: Mapping[str, Credulity] = {
    "row": _overlooking(of_dags=lambda _: {"dag": ()}),
    "document": _overlooking(of_dags=lambda dag: {"version": dag.version._replace(dag_hash="?")}),
    "source": _overlooking(of_dags=lambda dag: {"version": dag.version._replace(source_hash="?")}),
    "references": _overlooking(of_dags=lambda _: {"others": []}),
    "assets": _overlooking(of_dags=lambda _: {"assets": []}),
    "inactive": _overlooking(of_dags=lambda _: {"assets_are_active": True}),
    "aliases": _overlooking(aliases=True),
    "errors": _overlooking(errors=True),
    "epoch": _overlooking(epoch=True),
    "watchers": _patched("written_rows", "orphaned_watchers", _nothing),
    "order": _patched("unchanged_results", "_names", lambda: lambda *_: set()),
    "interval": _patched("imprints", "_is_there", lambda: lambda *_: True),
}
