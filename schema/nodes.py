"""Items of all lists by their global ids, as Relay's ``node`` and ``nodes``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, cast

import strawberry
from strawberry import relay

from ..resolvers.nodes import NodeKind, is_key, key_types
from ..resolvers.pages import MAX_PAGE_SIZE, Row
from ..resolvers.principal import TokenKind
from .bundle import Bundle
from .bundle_version import BundleVersion
from .context import Info
from .dag import Dag
from .dag_warning import DagWarning
from .import_error import FileImportError
from .loaders import NodeKey
from .node import KeyedNode
from .pages import bad_argument
from .parsed_file import ParsedFile
from .pending_callback import PendingCallback
from .processor import Processor

_SHOWN: dict[NodeKind, Callable[[Row], KeyedNode]] = {
    NodeKind.BUNDLE: Bundle.of,
    NodeKind.FILE: ParsedFile.of,
    NodeKind.DAG: Dag.of,
    NodeKind.IMPORT_ERROR: FileImportError.of,
    NodeKind.DAG_WARNING: DagWarning.of,
    NodeKind.PROCESSOR: Processor.of,
    NodeKind.PENDING_CALLBACK: PendingCallback.of,
    NodeKind.BUNDLE_VERSION: BundleVersion.of,
}


@strawberry.type
class NodeQuery:
    @strawberry.field(
        description="The item with this id, as it is now; null when it is gone, or of a bundle that the token does not "
        "grant. Needs an operator token."
    )
    async def node(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The `id` of an item, of whatever type.")],
    ) -> relay.Node | None:
        info.context.require(TokenKind.OPERATOR)
        return await _node(info, _key("id", id))

    @strawberry.field(
        description="The items with these ids, as they are now, in the order of the ids; null for each that is gone, "
        "or of a bundle that the token does not grant. Needs an operator token."
    )
    async def nodes(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID],
            strawberry.argument(description=f"The `id`s of items, at most {MAX_PAGE_SIZE}, of whatever types."),
        ],
    ) -> list[relay.Node | None]:
        info.context.require(TokenKind.OPERATOR)
        if len(ids) > MAX_PAGE_SIZE:
            raise bad_argument("ids", f"`ids` has {len(ids)} ids; at most {MAX_PAGE_SIZE} can be asked for at a time.")
        keys = [_key("ids", id) for id in ids]
        rows = await info.context.loaders.nodes.load_many(keys)
        return [_shown(key, row) for key, row in zip(keys, rows, strict=True)]


async def _node(info: Info, key: NodeKey) -> KeyedNode | None:
    return _shown(key, await info.context.loaders.nodes.load(key))


def _shown(key: NodeKey, row: Row | None) -> KeyedNode | None:
    return None if row is None else _SHOWN[key[0]](row)


def _key(argument: str, id: str) -> NodeKey:
    """What a global id names; an error of the contract when no item can have it."""
    try:
        parsed = relay.GlobalID.from_id(id)
        kind = NodeKind(parsed.type_name)
        types = key_types(kind)
        values = [parsed.node_id] if len(types) == 1 else _values(parsed.node_id)
        key = tuple(int(value) if type_ is int else value for value, type_ in zip(values, types, strict=True))
    except (ValueError, RecursionError):
        pass
    else:
        if is_key(kind, key):
            return kind, key
    raise bad_argument(argument, f"`{argument}` has what is not an `id` that this gateway gave.")


def _values(text: str) -> list[Any]:
    values = json.loads(text)
    if not isinstance(values, list):
        raise ValueError("Several values are an array.")
    return cast("list[Any]", values)
