"""Where the registries are, and the names that they contain.

Built-in names are read from the source code, because importing the registries imports torch, which takes seconds.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from heads.registry import Registry

REGISTRIES = {
    "heads": ("heads", "HEADS"),
    "hooks": ("research.training.hook", "HOOKS"),
    "edits": ("research.edits.base", "EDITS"),
    "optimizers": ("research.learning.optimizers.base", "OPTIMIZERS"),
    "pefts": ("research.edits.builtin.adapters", "PEFT"),
    "schedules": ("research.learning.schedules", "SCHEDULES"),
    "objectives": ("research.learning.objectives", "OBJECTIVES"),
    "cleaning": ("research.data.prepare.cleaning", "CLEANING"),
    "data": ("research.data.sources.base", "SOURCES"),
    "encoders": ("research.model.encoders", "ENCODERS"),
    "tasks": ("research.tasks.base", "TASKS"),
}
"""Module and attribute of each registry, by the value of --list. `pefts` is not a value of --list, because the help of
--peft names the entries."""
_BUILT_IN = {
    "hooks": "research.hooks",
    "edits": "research.edits.builtin",
    "optimizers": "research.learning.optimizers",
    "pefts": "research.edits.builtin",
    "data": "research.data.sources",
    "tasks": "research.tasks",
}
"""Packages of built-in entries that are not in the registry's own module."""
STEP_COUNT_PARAMETERS = ("num_warmup_steps", "num_training_steps")
"""Keyword-only parameters of a schedule that are not options, because the run provides their values."""


def load_registry(listing: str) -> Registry[Any]:
    """Return a registry, given its key in `REGISTRIES`."""
    module, attribute = REGISTRIES[listing]
    registry: Registry[Any] = getattr(importlib.import_module(module), attribute)
    return registry


@functools.cache
def read_registry(listing: str) -> Mapping[str, ast.FunctionDef | None]:
    """Return the built-in entries of a registry, without importing them.

    Args:
        listing: key of the registry in `REGISTRIES`.
    Returns:
        The syntax tree of each registered function, or of each class's constructor, by name; None if neither the class
        nor its base classes in the same files have a constructor.
    """
    module, attribute = REGISTRIES[listing]
    # Such as HEADS.register, or register_edit for edits.
    decorators = {f"{attribute}.register", f"register_{listing.removesuffix('s')}"}
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in _source_files(_BUILT_IN.get(listing, module))]
    nodes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}
    return {name: _find_function(node, classes) for node in nodes for name in _registered_names(node, decorators)}


def _source_files(module: str) -> list[Path]:
    """Return the files of a package, or the file of a module, without importing either."""
    root = importlib.util.find_spec(module.partition(".")[0])
    assert root is not None
    assert root.submodule_search_locations is not None
    path = Path(root.submodule_search_locations[0], *module.split(".")[1:])
    return sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def _registered_names(node: ast.ClassDef | ast.FunctionDef, decorators: set[str]) -> Iterator[str]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and decorator.args and ast.unparse(decorator.func) in decorators:
            (name, *_) = decorator.args
            assert isinstance(name, ast.Constant), f"Expected a string literal as the registered name in {node.name}."
            yield str(name.value)


def _find_function(node: ast.ClassDef | ast.FunctionDef, classes: Mapping[str, ast.ClassDef]) -> ast.FunctionDef | None:
    """Return a function itself; for a class, its constructor, possibly inherited from a base class in `classes`."""
    if isinstance(node, ast.FunctionDef):
        return node
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return member
    bases = (classes.get(base.id) for base in node.bases if isinstance(base, ast.Name))
    return next((_find_function(base, classes) for base in bases if base is not None), None)
