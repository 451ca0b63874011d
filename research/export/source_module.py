"""The source code of one module, of which an export keeps only the definitions that it needs."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from heads.registry import Registry

SHAPE_ANNOTATIONS = "jaxtyping"
"""Library of annotations with shapes, such as Float[Tensor, "batch seq"], which an export replaces with the type."""
Import = ast.Import | ast.ImportFrom


@dataclass(frozen=True)
class ImportedName:
    """A name that a module imports."""

    module: str
    """The module that is imported, or that the name is imported from."""
    name: str | None
    """The name in that module; None if the module itself is imported."""
    alias: str | None
    """The name after `as`; None if there is none."""

    @property
    def bound_name(self) -> str:
        """The name that the import binds."""
        return self.alias or self.name or self.module.partition(".")[0]


@dataclass
class SourceModule:
    """A module of Midway's or the user's code."""

    name: str
    """Name of the module, which has been imported."""
    source: str
    """Its source code."""

    @functools.cached_property
    def module(self) -> ModuleType:
        """The module itself."""
        return importlib.import_module(self.name)

    @property
    def path(self) -> Path:
        """The file of the module."""
        assert self.module.__file__ is not None
        return Path(self.module.__file__)

    @functools.cached_property
    def statements(self) -> list[ast.stmt]:
        """The top-level statements."""
        return ast.parse(self.source).body

    @functools.cached_property
    def definitions(self) -> dict[str, ast.stmt]:
        """The top-level statement that binds each name, except for imports. If there are several, the last one."""
        return {
            name: statement
            for statement in self.statements
            if not isinstance(statement, Import) and not _is_for_type_checkers(statement)
            for name in _bound_names(statement)
        }

    @functools.cached_property
    def imported_names(self) -> list[ImportedName]:
        """What the top-level imports bind."""
        imports = [statement for statement in self.statements if isinstance(statement, Import)]
        return [name for statement in imports for name in self.names_in(statement)]

    def names_in(self, statement: ast.Import | ast.ImportFrom) -> list[ImportedName]:
        """Return what an import binds."""
        if isinstance(statement, ast.Import):
            return [ImportedName(each.name, None, each.asname) for each in statement.names]
        package = self.module.__package__ if statement.level else None
        module = importlib.util.resolve_name("." * statement.level + (statement.module or ""), package)
        return [ImportedName(module, each.name, each.asname) for each in statement.names]

    def nodes_in(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield a node and all nodes below it, without decorators that register it and without shape annotations."""
        annotated = self.type_with_shape(node)
        if annotated is not None:
            yield from self.nodes_in(annotated)
            return
        yield node
        registering = self.registering_decorators(node)
        for child in ast.iter_child_nodes(node):
            if child not in registering:
                yield from self.nodes_in(child)

    def type_with_shape(self, node: ast.AST) -> ast.expr | None:
        """Return the type in an annotation with a shape (Tensor in Float[Tensor, "batch"]); None for other nodes."""
        if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Tuple):
            return None
        name = ast.unparse(node.value).partition(".")[0]
        libraries = [each.module.partition(".")[0] for each in self.imported_names if each.bound_name == name]
        return node.slice.elts[0] if SHAPE_ANNOTATIONS in libraries else None

    def registering_decorators(self, node: ast.AST) -> list[ast.expr]:
        """Return the decorators of a class or function that register it, such as @register_head("mine")."""
        return [each for each in getattr(node, "decorator_list", []) if self._registers(each)]

    def _registers(self, decorator: ast.expr) -> bool:
        if not isinstance(decorator, ast.Call):
            return False
        value: Any = self.module
        for attribute in ast.unparse(decorator.func).split("."):
            value = getattr(value, attribute, None)
        return isinstance(getattr(value, "__self__", None), Registry)


def is_text(statement: ast.stmt | None) -> bool:
    """Return whether a statement is a docstring."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _is_for_type_checkers(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test).endswith("TYPE_CHECKING")


def _bound_names(statement: ast.stmt) -> set[str]:
    """Return the names that a top-level statement binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    nodes = list(ast.walk(statement))
    stored = {each.id for each in nodes if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    defined = {each.name for each in nodes if isinstance(each, ast.FunctionDef | ast.ClassDef)}
    imported = {
        alias.asname or alias.name.partition(".")[0]
        for each in nodes
        if isinstance(each, Import)
        for alias in each.names
    }
    return stored | defined | imported
