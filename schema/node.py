"""Global ids of what operators read, so that their tools can cache and compare items across lists.

An id is opaque: base64 of the type's name and the item's own key, which is one value, or several as a JSON array.
"""

from __future__ import annotations

import json
from typing import Any

import strawberry
from strawberry import relay


@strawberry.type
class KeyedNode(relay.Node):
    """A node whose key is what ``key`` gives."""

    def key(self) -> tuple[Any, ...]:
        raise NotImplementedError

    @classmethod
    def resolve_id(cls, root: relay.Node, *, info: strawberry.Info[Any, Any]) -> str:
        assert isinstance(root, KeyedNode)
        key = root.key()
        return str(key[0]) if len(key) == 1 else json.dumps(key, separators=(",", ":"))
