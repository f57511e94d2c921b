"""Variables: what DAG code reads at parse time, and what callbacks read and write."""

from __future__ import annotations

from typing import Annotated

import strawberry

from ..resolvers import reads, variables
from ..resolvers.principal import TokenKind
from ..resolvers.refusals import Refusal
from .context import Info
from .outcomes import Outcome, OutcomeStatus, settled
from .reads import FileReferenceInput, Read, found, unanswered


@strawberry.type(description="An Airflow variable in clear text, as the Task SDK's `VariableResponse`.")
class VariableRead(Read):
    key: str | None = strawberry.field(default=None, description="The variable's key.")
    value: str | None = strawberry.field(
        default=None, description="The variable's value, decrypted, as the text that was stored (JSON stays text)."
    )


@strawberry.type(description="One page of the keys of the variables in the metadata database, in alphabetical order.")
class VariableKeysRead(Read):
    keys: list[str] | None = strawberry.field(default=None, description="The keys on this page.")
    total_entries: int | None = strawberry.field(default=None, description="How many keys match on all pages together.")


@strawberry.type(description="What became of writing or deleting a variable.")
class VariableOutcome(Outcome):
    pass


@strawberry.input(description="A variable to write. An existing one is overwritten.")
class SetVariableInput:
    key: str = strawberry.field(description="The variable's key, at most 250 characters.")
    value: str | None = strawberry.field(description="The value as text. Null stores the text `None`, as Airflow does.")
    description: str | None = strawberry.field(default=None, description="What the variable is for; null for none.")
    file: FileReferenceInput = strawberry.field(description="The file whose callback writes it.")


@strawberry.input(description="A variable to delete.")
class DeleteVariableInput:
    key: str = strawberry.field(description="The variable's key.")
    file: FileReferenceInput = strawberry.field(description="The file whose callback deletes it.")


@strawberry.type
class VariableQuery:
    @strawberry.field(
        description=(
            "A variable, from the gateway's secrets backends or the metadata database. With `[core] multi_team`, "
            "variables of the bundle's own team and of no team are visible. Needs a job token."
        )
    )
    def variable(
        self,
        info: Info,
        key: Annotated[str, strawberry.argument(description="The variable's key.")],
        file: Annotated[FileReferenceInput, strawberry.argument(description="The file that asks.")],
    ) -> VariableRead:
        principal = info.context.require(TokenKind.JOB)
        try:
            with info.context.reading() as session:
                team = reads.authorize(session, principal, file.reference())
            variable = variables.from_secrets_backends(key, team)
            if variable is None:
                with info.context.reading() as session:
                    variable = variables.from_database(session, key, team)
        except (reads.AnsweredNotFound, Refusal) as error:
            return unanswered(VariableRead, error)
        return found(VariableRead, key=variable.key, value=variable.val)

    @strawberry.field(
        description=(
            "Keys of the variables in the metadata database (secrets backends are not listed). With `[core] "
            "multi_team`, keys of the bundle's own team and of no team. Needs a job token."
        )
    )
    def variable_keys(
        self,
        info: Info,
        file: Annotated[FileReferenceInput, strawberry.argument(description="The file that asks.")],
        prefix: Annotated[
            str | None, strawberry.argument(description="Only keys that start with this text; null for all.")
        ] = None,
        limit: Annotated[int, strawberry.argument(description="Keys on a page, 1 to 10000.")] = 1000,
        offset: Annotated[int, strawberry.argument(description="Keys to skip, 0 or more.")] = 0,
    ) -> VariableKeysRead:
        principal = info.context.require(TokenKind.JOB)
        try:
            with info.context.reading() as session:
                team = reads.authorize(session, principal, file.reference())
                page = variables.keys(session, team, prefix=prefix, limit=limit, offset=offset)
        except (reads.AnsweredNotFound, Refusal) as error:
            return unanswered(VariableKeysRead, error)
        return found(VariableKeysRead, keys=page.keys, total_entries=page.total_entries)


@strawberry.type
class VariableMutation:
    @strawberry.mutation(
        description=(
            "Write a variable. With `[core] multi_team` a new one belongs to the bundle's team, and another team's "
            "variable is refused (`NOT_PERMITTED`). Sending it twice writes the same value twice. Needs a job token."
        )
    )
    def set_variable(
        self,
        info: Info,
        input: Annotated[SetVariableInput, strawberry.argument(description="What to store, and whose code stores it.")],
    ) -> VariableOutcome:
        principal = info.context.require(TokenKind.JOB)

        def resolve() -> VariableOutcome:
            with info.context.transaction() as session:
                team = reads.authorize(session, principal, input.file.reference())
                variables.set_value(session, team, key=input.key, value=input.value, description=input.description)
            return VariableOutcome(status=OutcomeStatus.ACCEPTED)

        return settled(VariableOutcome, resolve)

    @strawberry.mutation(
        description=(
            "Delete a variable of the bundle's own team or of no team from the metadata database. Accepted too when "
            "there is none, as Airflow does. Needs a job token."
        )
    )
    def delete_variable(
        self,
        info: Info,
        input: Annotated[DeleteVariableInput, strawberry.argument(description="Which one, and whose code deletes it.")],
    ) -> VariableOutcome:
        principal = info.context.require(TokenKind.JOB)

        def resolve() -> VariableOutcome:
            with info.context.transaction() as session:
                team = reads.authorize(session, principal, input.file.reference())
                variables.delete(session, team, key=input.key)
            return VariableOutcome(status=OutcomeStatus.ACCEPTED)

        return settled(VariableOutcome, resolve)
