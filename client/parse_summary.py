"""What the gateway knows of one bundle, read as an operator: how each file's last parse went, and the totals.

Everything comes in one HTTP request (more files than a page holds take more), so the totals belong together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gql import Client as GqlClient

from .. import __version__
from .generated.client import Client
from .generated.enums import FileStatus
from .generated.files import FilesFilesNodes
from .gql_base_client import OperationError
from .transport import GatewayError, GatewayTransport, http_client

_PAGE = 500
_TIMEOUT = 30.0


class SummaryUnavailable(Exception):
    """The gateway gave no answer, or an error; the message is for a person."""


@dataclass(frozen=True)
class FileSummary:
    """One file. ``trouble`` says what became of the last attempt if its result was not stored, else None."""

    path: str
    dag_count: int
    import_error_count: int
    warning_count: int
    parse_duration: float | None
    """Seconds."""
    trouble: str | None

    @property
    def is_stored(self) -> bool:
        return self.trouble is None


@dataclass(frozen=True)
class ParseSummary:
    """A bundle's files in the order of their paths, and how much Airflow has from it now, stale DAGs left out."""

    files: Sequence[FileSummary]
    dag_count: int
    import_error_count: int
    warning_count: int


def read_summary(url: str, token_path: Path, bundle: str, *, since: datetime) -> ParseSummary:
    """The summary of ``bundle``, with those of its files that were parsed at or after ``since``.

    :param token_path: file of an operator token
    :raises SummaryUnavailable: the gateway can't be asked, or refuses
    """
    try:
        return asyncio.run(_read(url, token_path.read_text().strip(), bundle, since))
    except (GatewayError, OperationError) as error:
        raise SummaryUnavailable(str(error)) from error


async def _read(url: str, token: str, bundle: str, since: datetime) -> ParseSummary:
    async with http_client(user_agent=f"parsegate/{__version__}") as http:
        transport = GatewayTransport(url, http=http, token=lambda: token, timeout=_TIMEOUT)
        async with GqlClient(transport=transport) as session:
            client = Client(session)
            page = client.files(first=_PAGE, bundle=bundle)
            dags = client.dags(first=1, bundle=bundle, is_stale=False)
            import_errors = client.import_errors(first=1, bundle=bundle)
            warnings = client.dag_warnings(first=1, bundle=bundle)
            await client.batch(page, dags, import_errors, warnings)
            files = page.result().files
            nodes = list(files.nodes)
            while files.page_info.has_next_page:
                files = (await client.files(first=_PAGE, bundle=bundle, after=files.page_info.end_cursor)).files
                nodes += files.nodes
            return ParseSummary(
                files=[_file(node) for node in nodes if node.last_parsed_at >= since],
                dag_count=dags.result().dags.total_count,
                import_error_count=import_errors.result().import_errors.total_count,
                warning_count=warnings.result().dag_warnings.total_count,
            )


def _file(node: FilesFilesNodes) -> FileSummary:
    trouble = None
    if node.status is not FileStatus.STORED:
        trouble = ": ".join(str(part) for part in (node.reason or node.status, node.message) if part)
    return FileSummary(
        path=node.relative_fileloc,
        dag_count=node.dag_count,
        import_error_count=node.import_error_count,
        warning_count=node.warning_count,
        parse_duration=node.parse_duration,
        trouble=trouble,
    )
