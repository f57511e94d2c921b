"""GraphiQL for a browser, served whole by the gateway: people paste tokens into it, so it has no foreign scripts.

The page is ours and not Strawberry's, which loads its scripts from a CDN and has the browser keep the headers, tokens
included. ``graphiql/index.html`` names the files of npm packages that it needs; scripts/bring-graphiql copies them to
``graphiql/assets``, under paths that hold their versions.
"""

from __future__ import annotations

import html
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from .saved_queries import saved_queries

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Scope

    PathLike = str | os.PathLike[str]

FOLDER = Path(__file__).parent / "graphiql"
ASSETS = FOLDER / "assets"

_HEADERS = {
    "Cache-Control": "no-cache",
    # CodeMirror and the UI's components write style elements; scripts come from here or not at all.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


class GraphiQLPage:
    """The page, or one that says what it lacks.

    :param assets: where the files of the npm packages are
    """

    def __init__(self, assets: Path = ASSETS) -> None:
        self._assets = assets
        self._text = (FOLDER / "index.html").read_text(encoding="utf-8")
        self._needed = re.findall(r'"assets/([^"]+@[^"]+)"', self._text)

    def response(self, request: Request) -> Response:
        missing = [name for name in self._needed if not (self._assets / name).is_file()]
        if missing:
            return HTMLResponse(_what_is_missing(missing), status_code=503, headers=_HEADERS)
        # Relative, so that it also works where a proxy puts a path of its own in front.
        folder = "assets/" if request.url.path.endswith("/") else f"{request.url.path.rpartition('/')[2]}/assets/"
        return HTMLResponse(self._text.replace('"assets/', f'"{folder}'), headers=_HEADERS)


class GraphiQLAssets(StaticFiles):
    """ASGI application of ``/graphql/assets/``: what the page refers to, and ``saved-queries.json``.

    :param assets: where the files of the npm packages are
    """

    def __init__(self, assets: Path = ASSETS) -> None:
        super().__init__(directory=FOLDER / "page")
        self.all_directories.append(assets)
        self._saved_queries = [asdict(query) for query in saved_queries()]

    async def get_response(self, path: str, scope: Scope) -> Response:
        if path != "saved-queries.json" or scope["method"] not in ("GET", "HEAD"):
            return await super().get_response(path, scope)
        headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        return JSONResponse(self._saved_queries, headers=headers)

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        # What has its version in its path never changes.
        immutable = "@" in scope["path"]
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if immutable else "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        if "content-type" in response.headers:
            # The system's table of media types is not always right about these.
            suffix = Path(full_path).suffix
            response.headers["Content-Type"] = _MEDIA_TYPES.get(suffix, "text/plain; charset=utf-8")
        return response


def _what_is_missing(missing: list[str]) -> str:
    items = "\n".join(f"<li><code>{html.escape(name)}</code></li>" for name in missing)
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>parsegate – GraphiQL is not here</title></head>
<body>
<h1>GraphiQL is not here</h1>
<p>In a checkout, <code>scripts/bring-graphiql</code> brings it from npm; then load this page again. An installed
package has it: install parsegate anew. GraphQL itself is served without it.</p>
<p>Missing:</p>
<ul>
{items}
</ul>
</body>
</html>
"""
