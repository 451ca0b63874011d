"""Copy classes and functions into files of their own, with everything of Midway's and the user's code that they use.

The files import each other relatively, so that Transformers loads them as the code of a model. Only definitions that
are needed are copied; decorators that register entries and annotations of shapes are removed.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from research.export.source_module import SHAPE_ANNOTATIONS, Import, ImportedName, SourceModule
from research.export.source_rendering import render
from research.system.user_code import is_midway_code, is_user_code


class SourceFiles:
    """Collects definitions and what they use, and writes them.

    Args:
        replaced: source code that replaces the one of some modules, by the name of the module.
    """

    def __init__(self, replaced: Mapping[str, str] | None = None) -> None:
        self._replaced = replaced or {}
        self._modules: dict[str, SourceModule] = {}
        self._kept: dict[str, list[ast.stmt]] = defaultdict(list)
        # Each kept import, as the module contains it and with the module that defines the name.
        self._imports: dict[str, dict[ImportedName, ImportedName]] = defaultdict(dict)

    def add(self, module: str, name: str) -> None:
        """Add a definition, and what it uses.

        Args:
            module: name of a module, which has been imported.
            name: name that the module defines or imports.
        Raises:
            ValueError: if the code cannot be copied; the message names the line.
        """
        source = self._source_module(module)
        if name in source.definitions:
            self._keep(source, source.definitions[name])
            return
        for imported in source.imported_names:
            if imported.bound_name == name:
                self._keep_import(source, imported)

    def file_names(self) -> dict[str, str]:
        """Return the name of each module's file, without suffix: the module's own, or a longer one if several match."""
        own = {name: _identifier(_stem(self._modules[name].module)) for name in self._modules}
        return {name: stem if list(own.values()).count(stem) == 1 else _identifier(name) for name, stem in own.items()}

    def write(self, folder: Path) -> None:
        """Write one file per module."""
        file_names = self.file_names()
        for name, module in self._modules.items():
            imports = [self._imports[name][each] for each in module.imported_names if each in self._imports[name]]
            text = render(module, self._kept[name], imports, file_names)
            (folder / f"{file_names[name]}.py").write_text(text, encoding="utf-8")

    @property
    def libraries(self) -> set[str]:
        """Names of the top-level modules of installed packages that the code imports."""
        names = {each.module for imports in self._imports.values() for each in imports.values()}
        names |= {
            each.module
            for name, statements in self._kept.items()
            for statement in statements
            for node in ast.walk(statement)
            if isinstance(node, Import)
            for each in self._modules[name].names_in(node)
        }
        tops = {name.partition(".")[0] for name in names if name not in self._modules}
        return tops - sys.stdlib_module_names

    def _source_module(self, name: str) -> SourceModule:
        if name not in self._modules:
            source = self._replaced.get(name) or inspect.getsource(sys.modules[name])
            self._modules[name] = SourceModule(name, source)
        return self._modules[name]

    def _keep(self, module: SourceModule, statement: ast.stmt) -> None:
        """Keep a top-level statement and what it uses."""
        if statement in self._kept[module.name]:
            return
        self._kept[module.name].append(statement)
        for node in module.nodes_in(statement):
            if isinstance(node, ast.Name):
                self.add(module.name, node.id)
            elif isinstance(node, Import):
                for imported in module.names_in(node):
                    if _is_own_code(imported.module):
                        raise _refusal(
                            module, node, f"imports {imported.module} in a block; move the import to the top"
                        )

    def _keep_import(self, module: SourceModule, imported: ImportedName) -> None:
        """Keep a top-level import and, if it imports Midway's or the user's code, what is imported."""
        if imported.module == "__future__":
            return
        if imported.module.partition(".")[0] == SHAPE_ANNOTATIONS:
            raise _refusal(
                module,
                None,
                f"uses {SHAPE_ANNOTATIONS} for something other than annotations such as Float[Tensor, ...]",
            )
        if not _is_own_code(imported.module):
            self._imports[module.name][imported] = imported
            return
        if imported.name is None or imported.name == "*" or _is_module(imported):
            raise _refusal(
                module,
                None,
                f"imports the module {imported.bound_name}; import names from the module instead",
            )
        origin = self._find_origin(imported.module, imported.name)
        self._imports[module.name][imported] = ImportedName(origin, imported.name, imported.alias)
        self.add(origin, imported.name)

    def _find_origin(self, module: str, name: str) -> str:
        """Return the module to import a name from: the given one, or the one that it gets the name from."""
        source = self._source_module(module)
        if name in source.definitions or any(each.bound_name == name for each in source.imported_names):
            return module
        if not self._kept[module] and not self._imports[module]:
            del self._modules[module]
        return str(getattr(getattr(sys.modules[module], name), "__module__", module))


def _is_own_code(module: str) -> bool:
    """Return whether a module, which has been imported, is Midway's or the user's code."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and (is_midway_code(file) or is_user_code(file))


def _is_module(imported: ImportedName) -> bool:
    assert imported.name is not None
    return inspect.ismodule(getattr(sys.modules[imported.module], imported.name, None))


def _stem(module: ModuleType) -> str:
    assert module.__file__ is not None
    path = Path(module.__file__)
    return path.parent.name if path.stem == "__init__" else path.stem


def _identifier(name: str) -> str:
    return re.sub(r"\W|^(?=\d)", "_", name)


def _refusal(module: SourceModule, node: ast.AST | None, reason: str) -> ValueError:
    line = f", line {node.lineno}," if isinstance(node, ast.stmt) else ""
    return ValueError(f"Cannot export the code of the model: {module.path}{line} {reason}.")
