"""The page of environment variables lists exactly the variables that Midway reads or sets."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from research.system.launcher import PROCESS_COUNT_VARIABLES, SHARDING_VARIABLES
from tests.conftest import ROOT
from tests.docs.blocks import DOCS
from tests.docs.tables import compare_names, described_names

PAGE = DOCS / "reference" / "environment-variables.md"
SOURCES = sorted([*ROOT.glob("research/**/*.py"), *ROOT.glob("heads/*.py"), *ROOT.glob("experiments/*.py")])
VARIABLES_BY_PARAMETER = {
    ("launcher.py", "name"): PROCESS_COUNT_VARIABLES,
    ("launcher.py", "switch"): tuple(SHARDING_VARIABLES),
}
"""Names of variables that the code passes as a parameter, by file name and parameter name."""


def is_environ(node: ast.AST) -> bool:
    return ast.unparse(node) == "os.environ"


def name_expressions(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield, for each use of os.environ, the expression that gives the variable's name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and is_environ(node.value):  # os.environ["NAME"]
            yield node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            # os.environ.get("NAME"), but not os.environ.update(environment of another process)
            if is_environ(node.func.value) and node.args and node.func.attr != "update":
                yield node.args[0]
            # {"NAME"}.isdisjoint(os.environ)
            elif any(is_environ(argument) for argument in node.args) and isinstance(node.func.value, ast.Set):
                yield from node.func.value.elts
        elif isinstance(node, ast.Compare) and is_environ(node.comparators[0]):  # "NAME" in os.environ
            yield node.left
        # {**os.environ, "NAME": value}
        elif isinstance(node, ast.Dict) and any(
            key is None and is_environ(value) for key, value in key_value_pairs(node)
        ):
            yield from (key for key in node.keys if key is not None)


def key_value_pairs(node: ast.Dict) -> Iterator[tuple[ast.expr | None, ast.expr]]:
    yield from zip(node.keys, node.values, strict=True)


def string_constants_of(trees: dict[Path, ast.Module]) -> dict[str, str]:
    """Return the values of module-level string constants, by name."""
    return {
        target.id: node.value.value
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def used_variables() -> set[str]:
    """Return the names of all environment variables that the sources use."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
    string_constants = string_constants_of(trees)
    variable_names: set[str] = set()
    for path, tree in trees.items():
        for name in name_expressions(tree):
            if isinstance(name, ast.Constant):
                variable_names.add(str(name.value))
            elif isinstance(name, ast.Name) and name.id in string_constants:
                variable_names.add(string_constants[name.id])
            else:
                variable_names.update(VARIABLES_BY_PARAMETER[path.name, ast.unparse(name)])
    return variable_names


def test_page_describes_exactly_the_variables_in_the_code() -> None:
    described = [
        name for anchor in ("yours", "launcher", "internal") for name in described_names(PAGE, anchor, "variable")
    ]
    unused, undescribed = compare_names(described, used_variables())
    assert (unused, undescribed) == ([], [])
    assert len(described) == len(set(described))
