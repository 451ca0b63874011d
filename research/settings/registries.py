"""Where each registry is, and the names in it: read from the source, since importing torch takes seconds."""

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
    "pefts": ("research.edits.builtin.adapters", "PEFT"),
    "schedules": ("research.learning.schedules", "SCHEDULES"),
    "objectives": ("research.learning.objectives", "OBJECTIVES"),
    "cleaning": ("research.data.prepare.cleaning", "CLEANING"),
    "data": ("research.data.sources.find", "PACKAGED"),
    "encoders": ("research.model.encoders", "ENCODERS"),
    "tasks": ("research.tasks.base", "TASKS"),
}
"""Where each registry is, by the word that --list takes."""
_BUILT_IN = {"hooks": "research.hooks", "edits": "research.edits.builtin", "tasks": "research.tasks"}
"""Where a registry's own entries are, if they are not beside it."""
GIVEN_BY_CALLER = ("num_warmup_steps", "num_training_steps")
"""What a schedule gets beside the optimizer, and what is therefore none of its options."""


def registry_of(listing: str) -> Registry[Any]:
    """Return the registry that a word of --list names."""
    module, attribute = REGISTRIES[listing]
    registry: Registry[Any] = getattr(importlib.import_module(module), attribute)
    return registry


@functools.cache
def read_registry(listing: str) -> Mapping[str, ast.FunctionDef | None]:
    """Return what the product itself registers, without importing it.

    Args:
        listing: a word of --list.
    Returns:
        The source of each registered function, or of each class's constructor, by its name; None if neither the class
        nor those that it derives from in the same files have one.
    """
    module, attribute = REGISTRIES[listing]
    decorators = {f"{attribute}.register", f"register_{listing.removesuffix('s')}"}
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in _source_files(_BUILT_IN.get(listing, module))]
    nodes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}
    return {name: _function(node, classes) for node in nodes for name in _registered_names(node, decorators)}


def _source_files(module: str) -> list[Path]:
    """Return the files of a package, or the one of a module, without importing either."""
    root = importlib.util.find_spec(module.partition(".")[0])
    assert root is not None
    assert root.submodule_search_locations is not None
    place = Path(root.submodule_search_locations[0], *module.split(".")[1:])
    return sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def _registered_names(node: ast.ClassDef | ast.FunctionDef, decorators: set[str]) -> Iterator[str]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and decorator.args and ast.unparse(decorator.func) in decorators:
            (name, *_) = decorator.args
            assert isinstance(name, ast.Constant), f"Expected a name in quotes to be registered, in {node.name}."
            yield str(name.value)


def _function(node: ast.ClassDef | ast.FunctionDef, classes: Mapping[str, ast.ClassDef]) -> ast.FunctionDef | None:
    """Return a function, or the constructor of a class."""
    if isinstance(node, ast.FunctionDef):
        return node
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return member
    bases = (classes.get(base.id) for base in node.bases if isinstance(base, ast.Name))
    return next((_function(base, classes) for base in bases if base is not None), None)
