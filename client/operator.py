"""A client for people and pipelines: what fails, whether a version of a bundle has been parsed.

:class:`Operator` blocks, :class:`AsyncOperator` is awaited; their methods are the same. Both need the extra
``parsegate[operator]``, an operator token and the gateway's URL, and neither Airflow nor a database::

    with Operator() as operator:
        for file in operator.errors(bundle="team_a"):
            print(file.relative_fileloc, file.message)

What they return are the types that are generated from the contract; ``model_dump(mode="json", by_alias=True)`` gives
their JSON.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from gql import Client as GqlClient
from pydantic import ValidationError

from .. import __version__
from .generated.client import Client
from .generated.enums import OutcomeStatus, PendingCallbackState
from .generated.fragments import BundleSummary, CallbackSummary, FailingFile, ProcessorSummary, VersionProgress
from .generated.operator_version import OperatorVersion
from .generated.request_parse import RequestParseRequestParse as RequestedParse
from .gql_base_client import Operation, OperationError
from .operator_access import AccessUnknown, GatewayAccess, find_access
from .operator_errors import (
    FilesNotStored,
    ImportErrorsFound,
    OperatorError,
    OperatorRefused,
    OperatorUnreachable,
    VersionNotLanded,
    VersionOvertaken,
    VersionTimedOut,
)
from .transport import GatewayError, GatewayTransport, GatewayUnreachable, http_client
from .version_wait import Listener, VersionWait

__all__ = [
    "AccessUnknown",
    "AsyncOperator",
    "BundleSummary",
    "CallbackSummary",
    "DeploymentStatus",
    "FailingFile",
    "FilesNotStored",
    "ImportErrorsFound",
    "Operator",
    "OperatorError",
    "OperatorRefused",
    "OperatorUnreachable",
    "ProcessorSummary",
    "RequestedParse",
    "VersionNotLanded",
    "VersionOvertaken",
    "VersionProgress",
    "VersionTimedOut",
]

ResultT = TypeVar("ResultT")

_PAGE = 100
_POLL_INTERVAL = 2.0
_TRANSIENT = frozenset({"INTERNAL", "UNAVAILABLE"})
"""Codes of errors that may be gone when the same is asked again."""


@dataclass(frozen=True)
class DeploymentStatus:
    """One look at everything. Of each list the first hundred; the counts are of all."""

    bundles: list[BundleSummary]
    """Those in the configuration, by name."""
    failing: list[FailingFile]
    """Files with import errors, and those whose last result was refused or timed out, by bundle and path."""
    failing_count: int
    processors: list[ProcessorSummary]
    """The newest first; of those that don't live any more, too."""
    callbacks: list[CallbackSummary]
    """The parked ones first, then those that have waited longest."""
    callback_count: int
    parked_callback_count: int


class AsyncOperator:
    """Asks the gateway as an operator.

    :param url: the gateway's GraphQL endpoint, ending in ``/graphql``; default: ``AIRFLOW__PARSEGATE__URL``
    :param token: an operator token; default: from the file that ``token_path`` or
        ``AIRFLOW__PARSEGATE__OPERATOR_TOKEN_PATH`` names, or from ``AIRFLOW__PARSEGATE__OPERATOR_TOKEN``
    :param ca_path: PEM file of the authorities to trust; default: ``AIRFLOW__PARSEGATE__CA_PATH``, else the system's
    :param timeout: seconds that one request may take
    :raises AccessUnknown: URL or token is told nowhere
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        token_path: str | os.PathLike[str] | None = None,
        ca_path: str | os.PathLike[str] | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._access: GatewayAccess = find_access(url, token, token_path=token_path, ca_path=ca_path)
        self._timeout = timeout
        self._resources = AsyncExitStack()
        self._client: Client | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._client = None
        await self._resources.aclose()

    async def status(self, bundle: str | None = None) -> DeploymentStatus:
        """Bundles, failing files, processors and callbacks, in one request.

        :param bundle: only what concerns this one; None for all
        :raises OperatorError: there is no answer
        """
        client = await self._connected()
        bundles = client.operator_bundles(first=500, active=True)
        failing = client.operator_failing_files(first=_PAGE, bundle=bundle)
        processors = client.operator_processors(first=_PAGE, bundle=bundle)
        callbacks = client.operator_pending_callbacks(first=_PAGE, bundle=bundle)
        parked = client.operator_pending_callbacks(first=_PAGE, bundle=bundle, state=PendingCallbackState.PARKED)
        await self._ask(bundles, failing, processors, callbacks, parked)
        parked_callbacks = parked.result().pending_callbacks
        others = callbacks.result().pending_callbacks
        return DeploymentStatus(
            bundles=[node for node in bundles.result().bundles.nodes if bundle in (None, node.name)],
            failing=failing.result().files.nodes,
            failing_count=failing.result().files.total_count,
            processors=processors.result().processors.nodes,
            callbacks=[
                *parked_callbacks.nodes,
                *(node for node in others.nodes if node.state is not PendingCallbackState.PARKED),
            ],
            callback_count=others.total_count,
            parked_callback_count=parked_callbacks.total_count,
        )

    async def errors(self, bundle: str | None = None) -> list[FailingFile]:
        """All files with import errors, and those whose last result was refused or timed out, by bundle and path.

        :param bundle: only of this one; None for all
        :raises OperatorError: there is no answer
        """
        client = await self._connected()
        query = client.operator_failing_files(first=_PAGE, bundle=bundle)
        await self._ask(query)
        files = query.result().files
        found = list(files.nodes)
        while files.page_info.has_next_page:
            query = client.operator_failing_files(first=_PAGE, bundle=bundle, after=files.page_info.end_cursor)
            await self._ask(query)
            files = query.result().files
            found += files.nodes
        return found

    async def wait_for_version(
        self,
        bundle: str,
        version: str | None = None,
        *,
        timeout: float | None = None,
        or_newer: bool = False,
        fail_on_import_errors: bool = False,
        poll_interval: float = _POLL_INTERVAL,
        on_progress: Listener | None = None,
    ) -> VersionProgress:
        """Wait until every file of a version of a bundle has been parsed and stored, from whatever processor.

        A version that no processor has told of yet is waited for, and so is a gateway that is away.

        :param version: in full, such as the name of a Git commit; None for the version that was seen last, whichever
            that is at the time, and for bundles without versions
        :param timeout: seconds; None waits for ever, 0 asks once. The last answer may come later than that
        :param or_newer: whether a version that takes the place of this one will do
        :param fail_on_import_errors: whether import errors are a failure
        :param poll_interval: seconds between two questions to the gateway
        :param on_progress: called after each with how far the version is (None when no processor has told of it yet)
            and why there was no answer (None when there was)
        :raises VersionTimedOut: it took longer than ``timeout``
        :raises ImportErrorsFound: with ``fail_on_import_errors``, when all files are parsed and stored
        :raises FilesNotStored: all files were tried, and some were refused or took too long
        :raises VersionOvertaken: a newer version took its place before it was complete
        :raises OperatorUnreachable: the gateway was away when the time was over
        :raises OperatorRefused: it refuses
        """
        wait = VersionWait(
            self._version,
            bundle,
            version,
            timeout=timeout,
            or_newer=or_newer,
            fail_on_import_errors=fail_on_import_errors,
            interval=poll_interval,
            listener=on_progress,
        )
        return await wait.run()

    async def request_parse(self, bundle: str, paths: Sequence[str] | None = None) -> RequestedParse:
        """Have files parsed before all others. Needs a token with the permission ``request-parse``.

        :param paths: relative to the bundle; None for all files that are known of it
        :raises OperatorError: nothing was requested
        """
        client = await self._connected()
        operation = client.request_parse(bundle=bundle, relative_filelocs=None if paths is None else list(paths))
        await self._ask(operation)
        requested = operation.result().request_parse
        if requested.status is OutcomeStatus.ACCEPTED:
            return requested
        reason = f"{requested.reason.value}: " if requested.reason else ""
        kind = OperatorUnreachable if requested.status is OutcomeStatus.FAILED else OperatorRefused
        raise kind(f"{reason}{requested.message}")

    async def _version(self, bundle: str, version: str | None) -> OperatorVersion:
        client = await self._connected()
        operation = client.operator_version(bundle=bundle, version=version)
        await self._ask(operation)
        return operation.result()

    async def _connected(self) -> Client:
        if self._client is None:
            access = self._access
            http = await self._resources.enter_async_context(
                http_client(user_agent=f"parsegate-operator/{__version__}", verify=access.verify, proxy=access.proxy)
            )
            transport = GatewayTransport(access.url, http=http, token=access.token, timeout=self._timeout)
            self._client = Client(await self._resources.enter_async_context(GqlClient(transport=transport)))
        return self._client

    async def _ask(self, *operations: Operation[Any]) -> None:
        """Send them in one request; all have a result then.

        :raises OperatorError: one has none
        """
        client = await self._connected()
        try:
            await client.batch(*operations)
            for operation in operations:
                operation.result()
        except GatewayUnreachable as error:
            raise OperatorUnreachable(f"The gateway {self._access.url} can't be reached: {error}") from error
        except GatewayError as error:
            raise OperatorRefused(f"The gateway {self._access.url} can't be asked: {error}") from error
        except OperationError as error:
            kind = OperatorUnreachable if error.codes & _TRANSIENT else OperatorRefused
            raise kind("; ".join(fault.message for fault in error.faults)) from error
        except ValidationError as error:
            raise OperatorRefused(f"The gateway's answer is not what parsegate {__version__} knows: {error}") from error


class Operator:
    """Asks the gateway as an operator, and waits for the answer.

    Takes what :class:`AsyncOperator` takes; not for use where an event loop runs.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        token_path: str | os.PathLike[str] | None = None,
        ca_path: str | os.PathLike[str] | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._operator = AsyncOperator(url, token, token_path=token_path, ca_path=ca_path, timeout=timeout)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; nothing can be asked afterwards."""
        self._run(self._operator.close())
        self._runner.close()

    def status(self, bundle: str | None = None) -> DeploymentStatus:
        """Bundles, failing files, processors and callbacks: see :meth:`AsyncOperator.status`."""
        return self._run(self._operator.status(bundle))

    def errors(self, bundle: str | None = None) -> list[FailingFile]:
        """All failing files with their error text: see :meth:`AsyncOperator.errors`."""
        return self._run(self._operator.errors(bundle))

    def wait_for_version(
        self,
        bundle: str,
        version: str | None = None,
        *,
        timeout: float | None = None,
        or_newer: bool = False,
        fail_on_import_errors: bool = False,
        poll_interval: float = _POLL_INTERVAL,
        on_progress: Listener | None = None,
    ) -> VersionProgress:
        """Wait until every file of a version has been parsed and stored: see :meth:`AsyncOperator.wait_for_version`."""
        return self._run(
            self._operator.wait_for_version(
                bundle,
                version,
                timeout=timeout,
                or_newer=or_newer,
                fail_on_import_errors=fail_on_import_errors,
                poll_interval=poll_interval,
                on_progress=on_progress,
            )
        )

    def request_parse(self, bundle: str, paths: Sequence[str] | None = None) -> RequestedParse:
        """Have files parsed before all others: see :meth:`AsyncOperator.request_parse`."""
        return self._run(self._operator.request_parse(bundle, paths))

    def _run(self, answer: Coroutine[Any, Any, ResultT]) -> ResultT:
        return self._runner.run(answer)
