"""Plugins of ariadne-codegen that fit the generated client to ours; ``scripts/generate-client`` runs them.

They run in the environment of the code generator, which has neither Airflow nor Strawberry nor gql.
"""

from __future__ import annotations

import ast
from typing import cast

from ariadne_codegen.plugins.base import Plugin
from ariadne_codegen.utils import format_code
from graphql import (
    ExecutableDefinitionNode,
    FieldNode,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    get_named_type,
)

BASE_CLIENT = "GqlBaseClient"
BASE_MODULE = "gql_base_client"
UNKNOWN = "UNKNOWN"


class OperationMethods(Plugin):
    """Each method makes an ``Operation`` that can be awaited alone or sent in a batch, instead of sending it.

    Runs after ariadne-codegen's ExtractOperationsPlugin, which leaves ``variables = …``, the call of ``execute``, and
    the return of the model.
    """

    def generate_client_import(self, import_: ast.ImportFrom) -> ast.ImportFrom:
        if import_.module == BASE_MODULE:
            import_.names.append(ast.alias("Operation"))
        return import_

    def generate_client_method(  # type: ignore[override]
        self, method_def: ast.AsyncFunctionDef, operation_definition: OperationDefinitionNode
    ) -> ast.FunctionDef:
        variables, execution, *_ = method_def.body
        call = cast("ast.Call", cast("ast.Await", cast("ast.Assign", execution).value).value)
        result_type = cast("ast.Name", method_def.returns)
        arguments = method_def.args
        arguments.kwarg = None
        operation = ast.Call(
            func=ast.Name("Operation"),
            args=[ast.Name("self")],
            keywords=[
                *(keyword for keyword in call.keywords if keyword.arg is not None),
                ast.keyword("result_type", result_type),
            ],
        )
        body: list[ast.stmt] = [variables, ast.Return(operation)]
        if description := self._description(operation_definition):
            body.insert(0, ast.Expr(ast.Constant(description)))
        return ast.fix_missing_locations(
            ast.FunctionDef(
                name=method_def.name,
                args=arguments,
                body=body,
                decorator_list=[],
                returns=ast.Subscript(ast.Name("Operation"), result_type),
                lineno=method_def.lineno,
            )
        )

    def generate_client_module(self, module: ast.Module) -> ast.Module:
        module.body = [node for node in module.body if not (isinstance(node, ast.FunctionDef) and node.name == "gql")]
        return module

    def copy_code(self, copied_code: str) -> str:
        """The generated package imports our base client, and its marker of unset values, rather than keep a copy."""
        module = ast.parse(copied_code)
        comment = copied_code.partition("\n")[0] if copied_code.startswith("#") else ""
        defined = {node.name for node in module.body if isinstance(node, ast.ClassDef)}
        if BASE_CLIENT in defined:
            imports = f"from ..{BASE_MODULE} import {BASE_CLIENT}, Operation"
            return f'{comment}\n\n{imports}\n\n__all__ = ["{BASE_CLIENT}", "Operation"]\n'
        if "UnsetType" in defined:
            kept = [node for node in module.body if ast.unparse(node).split("\n")[0] not in UNSET_DEFINITION]
            last_import = max(i for i, node in enumerate(kept) if isinstance(node, ast.ImportFrom))
            kept.insert(last_import + 1, ast.parse(f"from ..{BASE_MODULE} import UNSET, UnsetType").body[0])
            kept.insert(last_import + 2, ast.parse('__all__ = ["UNSET", "BaseModel", "UnsetType"]').body[0])
            module.body = kept
            for node in ast.walk(module):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "ConfigDict":
                    # Answers hold secrets; an error that quotes its input would carry them into logs.
                    node.keywords.append(ast.keyword("hide_input_in_errors", ast.Constant(True)))
            return f"{comment}\n\n{format_code(ast.unparse(module))}"
        return copied_code

    def _description(self, operation_definition: OperationDefinitionNode) -> str | None:
        root = self.schema.get_root_type(operation_definition.operation)
        selections = operation_definition.selection_set.selections
        if root is None or len(selections) != 1 or not isinstance(selections[0], FieldNode):
            return None
        field = root.fields.get(selections[0].name.value)
        return field.description if field else None


UNSET_DEFINITION = ("class UnsetType:", "UNSET = UnsetType()")


class PythonicNames(Plugin):
    """Models are made with their Python names only, as type checkers see it.

    For a field with ``alias`` a type checker demands the alias (``attemptId=``) as the name of the parameter; with one
    alias to validate and one to serialize it takes the field's own.
    """

    def generate_input_field(
        self, field_implementation: ast.AnnAssign, input_field: GraphQLInputField, field_name: str
    ) -> ast.AnnAssign:
        return self._with_split_alias(field_implementation)

    def generate_result_field(
        self,
        field_implementation: ast.AnnAssign,
        operation_definition: ExecutableDefinitionNode,
        field: FieldNode,
    ) -> ast.AnnAssign:
        return self._with_split_alias(field_implementation)

    @staticmethod
    def _with_split_alias(field_implementation: ast.AnnAssign) -> ast.AnnAssign:
        value = field_implementation.value
        if isinstance(value, ast.Call):
            value.keywords = [
                split
                for keyword in value.keywords
                for split in (
                    [ast.keyword(f"{use}_alias", keyword.value) for use in ("validation", "serialization")]
                    if keyword.arg == "alias"
                    else [keyword]
                )
            ]
        return field_implementation


class UnknownEnumMembers(Plugin):
    """Enums that the gateway answers with take a value that a newer gateway added for ``UNKNOWN``."""

    def __init__(self, schema: GraphQLSchema, config_dict: dict[str, object]) -> None:
        super().__init__(schema=schema, config_dict=config_dict)
        self._answered = {
            named.name
            for type_ in schema.type_map.values()
            if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not type_.name.startswith("__")
            for field in type_.fields.values()
            if isinstance(named := get_named_type(field.type), GraphQLEnumType)
        }

    def generate_enum(self, class_def: ast.ClassDef, enum_type: GraphQLEnumType) -> ast.ClassDef:
        if enum_type.name not in self._answered:
            return class_def
        members = "" if UNKNOWN in enum_type.values else f"    {UNKNOWN} = {UNKNOWN!r}\n"
        extension = ast.parse(
            f"class {enum_type.name}:\n"
            f"{members}"
            "    @classmethod\n"
            f"    def _missing_(cls, value: object) -> {enum_type.name!r}:\n"
            f"        return cls.{UNKNOWN}\n"
        ).body[0]
        class_def.body.extend(cast("ast.ClassDef", extension).body)
        return ast.fix_missing_locations(class_def)
