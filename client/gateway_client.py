"""The generated client as the agent uses it: registered, with a fresh job token, and with its troubles told once."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import Any

from gql import Client as GqlClient
from gql.client import AsyncClientSession
from pydantic import ValidationError

from .. import __version__
from . import protocol
from .agent_config import AgentConfig
from .credentials import JobCredentials, JobToken, read_token
from .generated.client import Client
from .generated.enums import JobCompletion, OutcomeStatus, RefusalReason
from .generated.input_types import CompleteJobInput, RegisterProcessorInput
from .generated.register_processor import RegisterProcessorRegisterProcessorJob as RegisteredJob
from .gql_base_client import Operation, OperationError
from .outage import Outage
from .transport import (
    AccessDenied,
    GatewayError,
    GatewayTransport,
    GatewayUnreachable,
    RequestRejected,
    TokenRefused,
    http_client,
    tls_context,
)

CONTRACT_VERSION = "1.0"
"""Version of ``schema.graphql`` that the generated client was made from."""

PASSING_CODES = frozenset({"INTERNAL", "UNAVAILABLE"})
"""Codes of faults that are the gateway's: the same operation may do later."""

log = logging.getLogger(__name__)


class ProcessorMustStop(Exception):
    """The gateway will not serve this processor (any more).

    :param reason: stable, such as ``VERSION_MISMATCH`` or ``JOB_CLOSED``
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def require_open_job(reason: RefusalReason | None, message: str | None) -> None:
    """
    :raises ProcessorMustStop: a request was refused because the processor's Job has ended
    """
    if reason is RefusalReason.JOB_CLOSED:
        raise ProcessorMustStop("JOB_CLOSED", message or "The processor's Job is no longer running.")


class GatewayClient:
    """Registers, and sends operations with the job token that it got.

    ``client`` and ``reads`` make the operations for :meth:`send`; those of ``reads`` give up sooner.
    """

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._http = http_client(
            user_agent=f"parsegate-agent/{__version__}",
            verify=tls_context(config.ca_path, config.client_certificate_path, config.client_key_path),
            proxy=config.proxy,
        )
        self._registration_id = str(uuid.uuid4())
        self._registration: protocol.Register | None = None
        self._credentials: JobCredentials | None = None
        self._outage = Outage(f"The gateway at {config.url}")
        self._troubles: dict[str, Outage] = {}
        self._usable = asyncio.Event()
        self.lease_duration = 60.0
        self.version: str | None = None
        """The gateway's release, as the last registration said."""

    async def connect(self) -> None:
        self._registrar = Client(await self._session(self._processor_token, self._config.request_timeout))
        self.client = Client(
            await self._session(self._job_token, self._config.request_timeout, self._config.compress_above)
        )
        # Not compressed: reads of several files share a request, with the secrets that one of them may store as a
        # variable, and the length would tell whether another's guess matches (CRIME).
        self.reads = Client(await self._session(self._job_token, self._config.read_timeout))

    async def close(self) -> None:
        await self._http.aclose()

    async def _session(self, token: Any, timeout: float, compress_above: int | None = None) -> AsyncClientSession:
        transport = GatewayTransport(
            self._config.url, http=self._http, token=token, timeout=timeout, compress_above=compress_above
        )
        # Closing the shared HTTP client ends the sessions.
        session: Any = await GqlClient(transport=transport).connect_async()
        return session

    def _processor_token(self) -> str:
        return read_token(self._config.token_path)

    def _job_token(self) -> str:
        assert self._credentials is not None
        return self._credentials.token

    # Registration ----------------------------------------------------------------------------------------------------

    async def register(self, registration: protocol.Register) -> RegisteredJob:
        """Try once. Trying again gives the same Job.

        :raises GatewayError: not now
        :raises ProcessorMustStop: never
        """
        self._registration = registration
        job = await self._register(registration)
        self._credentials = JobCredentials(JobToken.received(job.token, job.expires_at), self._renewed)
        self.lease_duration = job.lease_duration
        return job

    async def _renewed(self) -> JobToken:
        assert self._registration is not None
        job = await self._register(self._registration)
        return JobToken.received(job.token, job.expires_at)

    async def _register(self, registration: protocol.Register) -> RegisteredJob:
        operation = self._registrar.register_processor(
            RegisterProcessorInput(
                registration_id=self._registration_id,
                hostname=registration.hostname,
                unixname=registration.unixname,
                pid=registration.pid,
                parsegate_version=__version__,
                airflow_version=registration.airflow_version,
                contract_version=CONTRACT_VERSION,
                bundle_names=registration.bundle_names,
            )
        )
        began = time.monotonic()
        try:
            payload = (await operation).register_processor
        except OperationError as error:
            if error.codes & PASSING_CODES:
                raise self._unreachable(str(error)) from error
            # A gateway of another release may not even know the operation: its own words say most.
            raise ProcessorMustStop(next(iter(sorted(error.codes)), "REJECTED"), str(error)) from error
        except ValidationError as error:
            raise ProcessorMustStop(
                "VERSION_MISMATCH", f"The gateway's answer to the registration is not understood: {_outline(error)}."
            ) from error
        except RequestRejected as error:
            raise ProcessorMustStop(error.code or "REJECTED", str(error)) from error
        except GatewayError as error:
            self._failed(error)
            raise
        self._succeeded(began)
        if payload.status is OutcomeStatus.ACCEPTED and payload.job is not None:
            self.version = payload.job.gateway_version
            return payload.job
        if payload.status is OutcomeStatus.FAILED:
            raise self._unreachable(payload.message or "the registration failed")
        reason = payload.reason.value if payload.reason else "REFUSED"
        raise ProcessorMustStop(reason, payload.message or "The gateway refused the registration.")

    async def renew_token_if_due(self) -> bool:
        """Renew the job token well before it expires; says whether a request was made for it."""
        assert self._credentials is not None
        if not self._credentials.renewal_due:
            return False
        await self._credentials.renew(self._credentials.token)
        return True

    async def complete(self, succeeded: bool) -> None:
        """End the Job.

        :raises GatewayError: not now
        """
        completion = self.client.complete_job(
            CompleteJobInput(state=JobCompletion.SUCCESS if succeeded else JobCompletion.FAILED)
        )
        await self.send(completion)
        try:
            payload = completion.result().complete_job
        except (OperationError, ValidationError) as error:
            raise GatewayUnreachable(_told(error)) from error
        if payload.status is OutcomeStatus.FAILED:
            raise GatewayUnreachable(payload.message or "completing the Job failed")
        if payload.status is OutcomeStatus.REFUSED:
            log.warning("The Job could not be completed: %s", payload.message)

    # Operations ------------------------------------------------------------------------------------------------------

    async def send(self, *operations: Operation[Any]) -> None:
        """Send operations in one request; a refused job token is renewed once. Each operation then has its own answer.

        :raises GatewayError: there are no answers
        :raises ProcessorMustStop: renewing the token was refused
        """
        await self._send(self.client, operations)

    async def send_reads(self, *operations: Operation[Any]) -> None:
        """As :meth:`send`, giving up after ``read_timeout``."""
        await self._send(self.reads, operations)

    async def _send(self, client: Client, operations: tuple[Operation[Any], ...]) -> None:
        assert self._credentials is not None
        token = self._credentials.token
        began = time.monotonic()
        try:
            try:
                await client.batch(*operations)
            except TokenRefused:
                await self._credentials.renew(token)
                await client.batch(*operations)
        except (GatewayUnreachable, TokenRefused, AccessDenied) as error:
            self._failed(error)
            raise
        self._succeeded(began)
        for operation in operations:
            self._note(operation)

    def _note(self, operation: Operation[Any]) -> None:
        name = operation.operation_name
        trouble = self._troubles.setdefault(name, Outage(f"Operation {name} on the gateway"))
        try:
            operation.result()
        except OperationError as error:
            # What the operation itself did wrong is its sender's to tell.
            if error.codes & PASSING_CODES or not error.codes:
                trouble.failed(error)
        except ValidationError as error:
            trouble.failed(GatewayError(_told(error)))
        else:
            trouble.succeeded()

    # Trouble ---------------------------------------------------------------------------------------------------------

    @property
    def away(self) -> bool:
        """Whether the last request had no answer."""
        return self._outage.lasts

    @property
    def trouble(self) -> str | None:
        """What fails at present, for a person."""
        for trouble in (self._outage, *self._troubles.values()):
            if trouble.lasts:
                return trouble.reason
        return None

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until somebody else finds that the gateway can be used again."""
        if not self.away:
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._usable.wait()
        except TimeoutError:
            pass

    def _failed(self, error: GatewayError) -> None:
        self._usable.clear()
        self._outage.failed(error)

    def _unreachable(self, message: str) -> GatewayUnreachable:
        error = GatewayUnreachable(message)
        self._failed(error)
        return error

    def _succeeded(self, began: float) -> None:
        if self._outage.succeeded(began):
            self._usable.set()


def _outline(error: ValidationError) -> str:
    """Where an answer differs from the contract, without its values: they may be secret."""
    return "; ".join(
        f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors(include_input=False)[:3]
    )


def _told(error: OperationError | ValidationError) -> str:
    return str(error) if isinstance(error, OperationError) else f"not what the contract says: {_outline(error)}"
