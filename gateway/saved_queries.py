"""The queries that GraphiQL opens with: files in ``graphiql/queries``, whose first comment says what each is for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "graphiql" / "queries"

_FIRST = ("what-fails-now", "slowest-files", "is-my-version-in", "who-is-alive", "what-waits", "watch-parses")


@dataclass(frozen=True)
class SavedQuery:
    """A query to start from.

    :param name: the file's, without its ending
    :param title: for a list of them
    :param description: what it answers
    :param query: the whole document
    """

    name: str
    title: str
    description: str
    query: str


def saved_queries(folder: Path = FOLDER) -> list[SavedQuery]:
    """All of them, those that are needed most first."""
    names = sorted(path.stem for path in folder.glob("*.graphql"))
    return [
        _saved_query(name, (folder / f"{name}.graphql").read_text(encoding="utf-8"))
        for name in sorted(names, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    ]


def _saved_query(name: str, text: str) -> SavedQuery:
    comment: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("#").strip())
    title = name.replace("-", " ").capitalize()
    return SavedQuery(name=name, title=title, description=" ".join(comment).strip(), query=text)
